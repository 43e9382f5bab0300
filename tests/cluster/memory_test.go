package cluster

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"partstore/internal/qsclient"
	"partstore/node"
)

// TestFullMemoryIsAnswered503 lets one client hold all the memory a node has for
// payloads: others are told to come back, and are served once it has gone.
func TestFullMemoryIsAnswered503(t *testing.T) {
	c := start(t, func(cfg *node.Config) { cfg.PayloadMemory = 1 })
	client := c.Client(1)
	id, err := client.Initiate(t.Context(), bucket, "key")
	c.Must(err, "initiate")
	// The first bytes are more than the buffers of a connection hold, so whoever
	// has written them knows that the node has its memory.
	const size, first = 8 << 20, 6 << 20
	body, feed := io.Pipe()
	held := make(chan error, 1)
	go func() {
		_, err := client.PutPart(t.Context(), bucket, "key", id, 0, body, size)
		held <- err
	}()
	content := payload(1, size)
	if _, err := feed.Write(content[:first]); err != nil {
		t.Fatal(err)
	}
	_, err = client.PutPart(t.Context(), bucket, "key", id, 1, bytes.NewReader(content[:100]), 100)
	var answer *qsclient.Error
	if !errors.As(err, &answer) || answer.Status != 503 {
		t.Errorf("PUT without memory = %v, want status 503", err)
	}
	if _, err := c.Client(2).PutPart(t.Context(), bucket, "key", id, 2, bytes.NewReader(content), size); err != nil {
		t.Errorf("PUT through another node = %v", err)
	}
	if _, err := feed.Write(content[first:]); err != nil {
		t.Fatal(err)
	}
	c.Must(errors.Join(feed.Close(), <-held), "part that held the memory")
	if _, err := client.PutPart(t.Context(), bucket, "key", id, 1, bytes.NewReader(content), size); err != nil {
		t.Errorf("PUT with memory = %v", err)
	}
}
