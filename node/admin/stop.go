package admin

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"partstore/internal/layout"
)

// StopVerdict says what would be without some nodes.
type StopVerdict struct {
	// Margin is how many more stores the worst group could lose and still be
	// read; negative: parts in it could not be read meanwhile.
	Margin   int      `json:"margin"`
	Voters   int      `json:"voters"`   // of the registry, that would be left and answer
	Majority int      `json:"majority"` // of voters, that the registry needs
	Problems []string `json:"problems"` // for people; none: the nodes may be stopped
}

// JudgeStop says what would be if nodes were stopped together.
func (c *Client) JudgeStop(ctx context.Context, nodes []layout.NodeID) (v StopVerdict, err error) {
	names := make([]string, len(nodes))
	for i, n := range nodes {
		names[i] = n.String()
	}
	err = c.call(ctx, http.MethodGet, "/v1/stop", url.Values{"nodes": {strings.Join(names, ",")}}, &v)
	return v, err
}

func (h *handler) judgeStop(r *http.Request) (any, error) {
	var nodes []layout.NodeID
	for name := range strings.SplitSeq(r.URL.Query().Get("nodes"), ",") {
		n, err := layout.ParseNodeID(name)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		nodes = append(nodes, n)
	}
	return h.service.JudgeStop(r.Context(), nodes)
}
