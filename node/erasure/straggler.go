package erasure

import (
	"slices"
	"time"
)

// stragglers picks the good lanes to give up. A lane is late when a quorum of
// others finished all they were given, and since then it made no progress for
// the hedge delay. When everybody is slow nobody is late, until the stall delay.
func stragglers(lanes []*lane, quorum int, hedge, stall time.Duration, now time.Time) []*lane {
	var idleSince []time.Time
	for _, l := range lanes {
		if l.err == nil && l.idle() {
			idleSince = append(idleSince, l.last)
		}
	}
	late := func(l *lane) bool { return now.Sub(l.last) >= stall }
	if len(idleSince) >= quorum {
		slices.SortFunc(idleSince, time.Time.Compare)
		since := idleSince[quorum-1]
		late = func(l *lane) bool {
			return now.Sub(since) >= hedge && now.Sub(l.last) >= hedge
		}
	}
	var out []*lane
	for _, l := range lanes {
		if l.err == nil && !l.idle() && late(l) {
			out = append(out, l)
		}
	}
	return out
}
