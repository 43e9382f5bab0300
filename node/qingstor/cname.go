package qingstor

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"partstore/metadata"
)

type cnameRequest struct {
	Domain string `json:"domain"`
	Type   string `json:"type"`
}

type cnameList struct {
	Records []cnameRecord `json:"cname_records"`
	Count   int           `json:"count"`
}

type cnameRecord struct {
	Domain  string `json:"domain"`
	Type    string `json:"type"`
	Created string `json:"created"`
}

// getCNAME lists the domains of a bucket, of one type if the request names one.
func (c *call) getCNAME(ctx context.Context) error {
	domains, err := c.Registry.Domains(ctx, c.bucket.Name)
	if err != nil {
		return err
	}
	list := cnameList{Records: []cnameRecord{}}
	for _, d := range domains {
		if want := c.query.get("type"); want == "" || want == d.Type {
			list.Records = append(list.Records, cnameRecord{d.Name, d.Type, jsonTime(d.Created)})
		}
	}
	list.Count = len(list.Records)
	return c.json(http.StatusOK, list)
}

// putCNAME binds a domain to the bucket. Nothing is looked up: whoever owns the
// domain lets it lead here, or nobody comes by it.
func (c *call) putCNAME(ctx context.Context) error {
	req, err := c.readCNAME()
	if err != nil {
		return err
	}
	if req.Type == "" {
		req.Type = "normal"
	}
	if req.Type != "normal" && req.Type != "website" {
		return refuse(errInvalidRequest, "The type of a domain is normal or website")
	}
	d := metadata.Domain{Name: req.Domain, Bucket: c.bucket.Name, Type: req.Type, Created: c.Now()}
	if err := c.Registry.BindDomain(ctx, d); err != nil {
		return err
	}
	return c.empty(http.StatusOK)
}

func (c *call) deleteCNAME(ctx context.Context) error {
	req, err := c.readCNAME()
	if err != nil {
		return err
	}
	if err := c.Registry.UnbindDomain(ctx, c.bucket.Name, req.Domain); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

func (c *call) readCNAME() (req cnameRequest, err error) {
	text, err := c.body.all(maxSettingBody)
	if err != nil {
		return req, err
	}
	return c.parseCNAME(text)
}

// parseCNAME reads a domain that is not the service's own.
func (c *call) parseCNAME(text []byte) (req cnameRequest, err error) {
	if req, err = readBody[cnameRequest](text); err != nil {
		return req, err
	}
	req.Domain = strings.ToLower(strings.TrimSuffix(req.Domain, "."))
	ours := slices.ContainsFunc(c.bases, func(base string) bool {
		return req.Domain == base || strings.HasSuffix(req.Domain, "."+base)
	})
	if !validDomain(req.Domain) || ours {
		return req, refuse(errCNAME, "The domain is not a host name of somebody else")
	}
	return req, nil
}

// validDomain accepts host names of two labels or more.
func validDomain(s string) bool {
	if len(s) > 253 || isIP(s) || !strings.Contains(s, ".") {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
	}
	return true
}

// boundBucket is the bucket that the request's host is bound to, "" if none.
func (c *call) boundBucket(ctx context.Context, host string) (string, error) {
	if c.belowBase(host) || !validDomain(host) {
		return "", nil
	}
	return c.Registry.DomainBucket(ctx, host)
}

// belowBase reports whether a host is one of the base domains, or below one.
func (c *call) belowBase(host string) bool {
	return slices.ContainsFunc(c.bases, func(base string) bool { return host == base || strings.HasSuffix(host, "."+base) })
}
