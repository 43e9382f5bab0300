package qingstor

import (
	"context"
	"strings"
	"time"

	"partstore/metadata"
)

// Bounds of a lifecycle document.
const (
	maxLifecycleRules  = 100
	maxLifecycleID     = 255
	minTransitionDays  = 30
	maxLifecycleDays   = 100_000
	lifecycleGracetime = 24 * time.Hour // between a rule's birth and its effect
)

type lifecycle struct {
	Rules []lifecycleRule `json:"rule"`
}

type lifecycleRule struct {
	ID         string              `json:"id"`
	Status     string              `json:"status"`
	Filter     lifecycleFilter     `json:"filter"`
	Expiration *lifecycleExpire    `json:"expiration,omitempty"`
	Abort      *lifecycleAbort     `json:"abort_incomplete_multipart_upload,omitempty"`
	Transition *lifecycleTransit   `json:"transition,omitempty"`
	OldExpire  *noncurrentVersions `json:"noncurrent_version_expiration,omitempty"`
	OldTransit *noncurrentVersions `json:"noncurrent_version_transition,omitempty"`
	State      string              `json:"state,omitempty"`
	Created    int64               `json:"created,omitempty"` // Unix time; ours
}

type lifecycleFilter struct {
	Prefix string `json:"prefix"`
}

type lifecycleExpire struct {
	Days int `json:"days"`
}

type lifecycleAbort struct {
	Days int `json:"days_after_initiation"`
}

type lifecycleTransit struct {
	Days         int    `json:"days"`
	StorageClass string `json:"storage_class"`
}

type noncurrentVersions struct{}

// action names what a rule does, and after how many days.
func (r lifecycleRule) action() (name string, days int) {
	switch {
	case r.Expiration != nil:
		return "expiration", r.Expiration.Days
	case r.Abort != nil:
		return "abort", r.Abort.Days
	case r.Transition != nil:
		return "transition", r.Transition.Days
	}
	return "", 0
}

func (r lifecycleRule) wish() [5]any {
	name, days := r.action()
	return [5]any{r.ID, strings.ToLower(r.Status), r.Filter.Prefix, name, days}
}

// checkLifecycle judges a document. Rules that were there before keep their
// birth, so that a client that sends the same rules every day has them applied.
func checkLifecycle(c *call, text []byte) (any, error) {
	l, err := readBody[lifecycle](text)
	if err != nil {
		return nil, err
	}
	if err := l.check(); err != nil {
		return nil, err
	}
	document, err := c.Registry.Setting(c.r.Context(), c.bucket.Name, metadata.SettingLifecycle)
	if err != nil {
		return nil, err
	}
	born := map[[5]any]int64{}
	if len(document) > 0 {
		before, err := readStored[lifecycle](document)
		if err != nil {
			return nil, err
		}
		for _, r := range before.Rules {
			born[r.wish()] = r.Created
		}
	}
	for i := range l.Rules {
		r := &l.Rules[i]
		r.State, r.Created = "", c.Now().Unix()
		if at, ok := born[r.wish()]; ok {
			r.Created = at
		}
	}
	return l, nil
}

func (l lifecycle) check() error {
	if len(l.Rules) == 0 || len(l.Rules) > maxLifecycleRules {
		return refuse(errInvalidRequest, "There are 1 to %d lifecycle rules", maxLifecycleRules)
	}
	ids, actions := map[string]bool{}, map[[2]string]bool{}
	for _, r := range l.Rules {
		if r.OldExpire != nil || r.OldTransit != nil {
			return refuse(errNotImplemented, "Versions of objects are not supported")
		}
		if why := r.wrong(); why != "" {
			return refuse(errInvalidRequest, "Lifecycle rule %q: %s", r.ID, why)
		}
		name, _ := r.action()
		if ids[r.ID] || actions[[2]string{name, r.Filter.Prefix}] {
			return refuse(errInvalidRequest, "Two lifecycle rules have the same id, or the same prefix and action")
		}
		ids[r.ID], actions[[2]string{name, r.Filter.Prefix}] = true, true
	}
	for _, e := range l.Rules {
		for _, t := range l.Rules {
			if e.Expiration != nil && t.Transition != nil && overlap(e.Filter.Prefix, t.Filter.Prefix) && e.Expiration.Days <= t.Transition.Days {
				return refuse(errInvalidRequest, "Lifecycle rule %q expires objects no later than rule %q moves them", e.ID, t.ID)
			}
		}
	}
	return nil
}

func overlap(a, b string) bool { return strings.HasPrefix(a, b) || strings.HasPrefix(b, a) }

// wrong says what is wrong with a rule, "" for nothing.
func (r lifecycleRule) wrong() string {
	given := 0
	for _, is := range []bool{r.Expiration != nil, r.Abort != nil, r.Transition != nil} {
		if is {
			given++
		}
	}
	_, days := r.action()
	switch {
	case r.ID == "" || len(r.ID) > maxLifecycleID:
		return "an id of 1 to 255 characters is required"
	case !isStatus(r.Status):
		return "the status is neither enabled nor disabled"
	case !isKeyPrefix(r.Filter.Prefix):
		return "the prefix is no beginning of a key"
	case given != 1:
		return "exactly one of expiration, transition and abort_incomplete_multipart_upload is required"
	case days < 1 || days > maxLifecycleDays:
		return "the days are not within 1 to 100000"
	case r.Transition != nil && days < minTransitionDays:
		return "a transition takes 30 days or more"
	case r.Transition != nil && r.Transition.StorageClass != "STANDARD_IA":
		return "the storage_class of a transition is STANDARD_IA"
	}
	return ""
}

func (r lifecycleRule) ready(now time.Time) bool {
	return now.Sub(time.Unix(r.Created, 0)) >= lifecycleGracetime
}

// showLifecycle tells of each rule whether it has an effect already.
func showLifecycle(_ context.Context, c *call, document []byte) (any, error) {
	l := lifecycle{Rules: []lifecycleRule{}}
	if len(document) == 0 {
		return l, nil
	}
	l, err := readStored[lifecycle](document)
	for i := range l.Rules {
		l.Rules[i].State = "unchecked"
		if l.Rules[i].ready(c.Now()) {
			l.Rules[i].State = "ready"
		}
	}
	return l, err
}

// LifecycleRule is a rule of a bucket that has an effect. One of the days is
// not zero.
type LifecycleRule struct {
	Prefix     string
	ExpireDays int // objects last modified so long ago are deleted
	AbortDays  int // uploads initiated so long ago are aborted
}

// LifecycleRules reads the rules of a lifecycle document that have an effect
// now. Transitions have none: both storage classes are kept alike.
func LifecycleRules(document []byte, now time.Time) (rules []LifecycleRule, err error) {
	l, err := readStored[lifecycle](document)
	for _, r := range l.Rules {
		if !strings.EqualFold(r.Status, "enabled") || !r.ready(now) {
			continue
		}
		switch {
		case r.Expiration != nil:
			rules = append(rules, LifecycleRule{Prefix: r.Filter.Prefix, ExpireDays: r.Expiration.Days})
		case r.Abort != nil:
			rules = append(rules, LifecycleRule{Prefix: r.Filter.Prefix, AbortDays: r.Abort.Days})
		}
	}
	return rules, err
}
