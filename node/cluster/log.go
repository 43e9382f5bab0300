package cluster

import (
	"context"
	"log/slog"
	"strings"
)

// levelByPrefix gives memberlist's lines, such as "[WARN] memberlist: …", the
// level their prefix names. memberlist reports every failed probe and dial as
// an error; to us they are news about the other side.
type levelByPrefix struct{ slog.Handler }

func (h levelByPrefix) Enabled(context.Context, slog.Level) bool { return true }

func (h levelByPrefix) Handle(ctx context.Context, r slog.Record) error {
	prefix, message, ok := strings.Cut(r.Message, " ")
	if !ok {
		message = r.Message
	}
	level := slog.LevelDebug
	if prefix == "[WARN]" {
		level = slog.LevelInfo
	}
	if !h.Handler.Enabled(ctx, level) {
		return nil
	}
	out := slog.NewRecord(r.Time, level, strings.TrimPrefix(message, "memberlist: "), r.PC)
	return h.Handler.Handle(ctx, out)
}
