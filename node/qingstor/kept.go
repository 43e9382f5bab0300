package qingstor

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Settings that are judged, kept and shown, and have no effect. What they would
// do is done by nobody here; docs/compatibility.md says so.

// Bounds of these settings.
const (
	maxKeptRules     = 1000 // of any list
	maxReplicationID = 255
)

type notifications struct {
	List []notification `json:"notifications"`
}

type notification struct {
	ID      string         `json:"id"`
	Events  []string       `json:"event_types"`
	Func    string         `json:"cloudfunc"`
	Args    map[string]any `json:"cloudfunc_args,omitempty"`
	Filters texts          `json:"object_filters,omitempty"`
	URL     string         `json:"notify_url,omitempty"`
}

func checkNotification(_ *call, text []byte) (any, error) {
	l, err := readBody[notifications](text)
	if err != nil {
		return nil, err
	}
	if len(l.List) == 0 || len(l.List) > maxKeptRules {
		return nil, refuse(errInvalidRequest, "There are 1 to %d notifications", maxKeptRules)
	}
	events := []string{"create_object", "delete_object", "abort_multipart", "complete_multipart"}
	functions := []string{"tupu-porn", "notifier", "image"}
	ids := map[string]bool{}
	for _, n := range l.List {
		switch {
		case n.ID == "" || ids[n.ID]:
			return nil, refuse(errInvalidRequest, "Every notification needs an id of its own")
		case len(n.Events) == 0 || slices.ContainsFunc(n.Events, func(e string) bool { return !slices.Contains(events, e) }):
			return nil, refuse(errInvalidRequest, "The event_types are of %s", strings.Join(events, ", "))
		case !slices.Contains(functions, n.Func):
			return nil, refuse(errInvalidRequest, "The cloudfunc is one of %s", strings.Join(functions, ", "))
		case n.URL != "" && !isWebURL(n.URL):
			return nil, refuse(errInvalidRequest, "The notify_url is no http or https URL")
		}
		ids[n.ID] = true
	}
	return l, nil
}

type mirror struct {
	Site string `json:"source_site"`
}

func checkMirror(_ *call, text []byte) (any, error) {
	m, err := readBody[mirror](text)
	if err == nil && !isWebURL(m.Site) {
		err = refuse(errInvalidRequest, "The source_site is no http or https URL")
	}
	return m, err
}

func isWebURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && len(s) <= maxHeader
}

type logging struct {
	Bucket *string `json:"target_bucket"`
	Prefix *string `json:"target_prefix"`
}

func checkLogging(_ *call, text []byte) (any, error) {
	l, err := readBody[logging](text)
	switch {
	case err != nil:
		return nil, err
	case l.Bucket == nil || l.Prefix == nil || !validBucketName(*l.Bucket) || !isKeyPrefix(*l.Prefix):
		return nil, refuse(errInvalidRequest, "A target_bucket and a target_prefix are required")
	}
	return l, nil
}

// isKeyPrefix reports whether some key may begin so.
func isKeyPrefix(s string) bool { return s == "" || checkKey(s) == nil }

type replication struct {
	Rules []replicationRule `json:"rules"`
}

type replicationRule struct {
	ID      string `json:"id"`
	Status  string `json:"status"`
	Filters struct {
		Prefix string `json:"prefix"`
	} `json:"filters"`
	DeleteMarker string `json:"delete_marker,omitempty"`
	SyncMarker   string `json:"sync_marker,omitempty"`
	Destination  struct {
		Bucket       string `json:"bucket"`
		StorageClass string `json:"storage_class,omitempty"`
	} `json:"destination"`
}

func checkReplication(_ *call, text []byte) (any, error) {
	l, err := readBody[replication](text)
	if err != nil {
		return nil, err
	}
	if len(l.Rules) == 0 || len(l.Rules) > maxKeptRules {
		return nil, refuse(errInvalidRequest, "There are 1 to %d replication rules", maxKeptRules)
	}
	ids := map[string]bool{}
	prefixes := make([]string, 0, len(l.Rules))
	for i := range l.Rules {
		r := &l.Rules[i]
		if r.Status == "" {
			r.Status = "ENABLED"
		}
		switch {
		case r.ID == "" || len(r.ID) > maxReplicationID || ids[r.ID]:
			return nil, refuse(errInvalidRequest, "Every rule needs an id of its own, of 1 to %d bytes", maxReplicationID)
		case !isStatus(r.Status):
			return nil, refuse(errInvalidRequest, "The status of a rule is neither enabled nor disabled")
		case r.DeleteMarker != "" && !isStatus(r.DeleteMarker), r.SyncMarker != "" && !isStatus(r.SyncMarker):
			return nil, refuse(errInvalidRequest, "A marker of a rule is neither enabled nor disabled")
		case !slices.Contains([]string{"", standardClass, "STANDARD_IA"}, strings.ToUpper(r.Destination.StorageClass)):
			return nil, refuse(errInvalidRequest, "The storage_class of a rule is neither STANDARD nor STANDARD_IA")
		case !validBucketName(r.Destination.Bucket) || r.Destination.Bucket != l.Rules[0].Destination.Bucket:
			return nil, refuse(errInvalidRequest, "All rules have one destination bucket")
		}
		ids[r.ID] = true
		prefixes = append(prefixes, r.Filters.Prefix)
	}
	// In order, a prefix is followed at once by one that it begins, if any is.
	slices.Sort(prefixes)
	for i := 1; i < len(prefixes); i++ {
		if strings.HasPrefix(prefixes[i], prefixes[i-1]) {
			return nil, refuse(errInvalidRequest, "The prefixes of two rules overlap")
		}
	}
	return l, nil
}

func isStatus(s string) bool {
	return strings.EqualFold(s, "enabled") || strings.EqualFold(s, "disabled")
}

type versioning struct {
	Status string `json:"status"`
}

// checkVersioning keeps SUSPENDED, which is how things are, and refuses what
// would be a promise to keep old versions.
func checkVersioning(_ *call, text []byte) (any, error) {
	v, err := readBody[versioning](text)
	switch {
	case err != nil:
		return nil, err
	case v.Status == "ENABLED":
		return nil, refuse(errNotImplemented, "Versions of objects are not supported")
	case v.Status != "SUSPENDED":
		return nil, refuse(errInvalidRequest, "The status is neither ENABLED nor SUSPENDED")
	}
	return v, nil
}

func isIP(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}
