package peer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"partstore/internal/layout"
	"partstore/node/peer"
)

func TestCall(t *testing.T) {
	addr := serve(t, peer.ServerConfig{Calls: map[string]peer.Handler{
		"echo": func(_ context.Context, _ layout.NodeID, request []byte) ([]byte, error) { return request, nil },
		"from": func(_ context.Context, from layout.NodeID, _ []byte) ([]byte, error) {
			return []byte(from.String()), nil
		},
		"coded": func(context.Context, layout.NodeID, []byte) ([]byte, error) {
			return nil, fmt.Errorf("deep inside: %w", &peer.RemoteError{Code: "no_leader", Text: "ask later"})
		},
		"plain": func(context.Context, layout.NodeID, []byte) ([]byte, error) { return nil, errors.New("oops") },
		"huge": func(context.Context, layout.NodeID, []byte) ([]byte, error) {
			return make([]byte, peer.MaxCallSize+1), nil
		},
		"a/b c": func(context.Context, layout.NodeID, []byte) ([]byte, error) { return []byte("odd name"), nil },
	}})
	c := clientTo(t, addr, nil)
	for _, size := range []int{0, 1, 100_000, peer.MaxCallSize} {
		request := bytes.Repeat([]byte{0xa5}, size)
		if answer, err := c.Call(t.Context(), serverID, "echo", request); err != nil || !bytes.Equal(answer, request) {
			t.Errorf("echo of %d bytes = %d bytes, %v", size, len(answer), err)
		}
	}
	for service, want := range map[string]string{"from": askerID.String(), "a/b c": "odd name"} {
		if answer, err := c.CallAddr(t.Context(), addr, service, nil); err != nil || string(answer) != want {
			t.Errorf("%s = %q, %v; want %q", service, answer, err, want)
		}
	}
	for service, want := range map[string]peer.RemoteError{
		"coded": {Code: "no_leader", Text: "ask later"}, "plain": {Code: "internal", Text: "oops"},
	} {
		_, err := c.Call(t.Context(), serverID, service, nil)
		if got := (*peer.RemoteError)(nil); !errors.As(err, &got) || *got != want {
			t.Errorf("%s = %v, want %v", service, err, &want)
		}
	}
	for call, tc := range map[string]struct {
		request []byte
		want    error
	}{
		"nobody": {nil, peer.ErrUnknownService},
		"huge":   {nil, peer.ErrTooLarge},
		"echo":   {make([]byte, peer.MaxCallSize+1), peer.ErrTooLarge},
	} {
		if _, err := c.Call(t.Context(), serverID, call, tc.request); !errors.Is(err, tc.want) {
			t.Errorf("%s = %v, want %v", call, err, tc.want)
		}
	}
}
