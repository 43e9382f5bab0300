package metadata

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// newRaftLogger sends Raft's log to ours, one or two levels lower: what Raft
// calls info is every day's business, and what it calls an error (a peer that
// does not answer, a snapshot put off) it deals with itself. Changes of leader
// are logged by leader.go, damage by Raft.fail.
func newRaftLogger(log *slog.Logger) hclog.Logger {
	l := hclog.NewInterceptLogger(&hclog.LoggerOptions{Output: io.Discard, Level: hclog.Off})
	l.RegisterSink(raftSink{log.With("component", "raft")})
	return l
}

type raftSink struct{ log *slog.Logger }

// Accept implements hclog.SinkAdapter.
func (s raftSink) Accept(_ string, level hclog.Level, msg string, args ...any) {
	to := slog.LevelDebug
	if level >= hclog.Warn {
		to = slog.LevelInfo
	}
	ctx := context.Background()
	if !s.log.Enabled(ctx, to) {
		return
	}
	for i := range args {
		if f, ok := args[i].(hclog.Format); ok { // a format and its arguments
			args[i] = fmt.Sprintf(fmt.Sprint(f[0]), f[1:]...)
		}
	}
	s.log.Log(ctx, to, msg, args...)
}
