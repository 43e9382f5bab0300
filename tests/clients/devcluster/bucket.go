package devcluster

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/qingstor/qingstor-sdk-go/v4/config"
	sdk "github.com/qingstor/qingstor-sdk-go/v4/request/errors"
	"github.com/qingstor/qingstor-sdk-go/v4/service"
)

// Bucket returns the official client of a bucket, through one node.
func (c *Cluster) Bucket(n Node, name string) (*service.Bucket, error) {
	return NewBucket(n.Endpoint, c.AccessKeyID, c.SecretAccessKey, name)
}

// NewBucket returns the official client of a bucket at an endpoint.
func NewBucket(endpoint, accessKeyID, secretAccessKey, name string) (*service.Bucket, error) {
	s, err := newService(endpoint, accessKeyID, secretAccessKey)
	if err != nil {
		return nil, err
	}
	return s.Bucket(name, "") // with a zone the client would dial zone.host
}

// Service returns the official client of the service, through one node.
func (c *Cluster) Service(n Node) (*service.Service, error) {
	return newService(n.Endpoint, c.AccessKeyID, c.SecretAccessKey)
}

func newService(endpoint, accessKeyID, secretAccessKey string) (*service.Service, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, err
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		return nil, fmt.Errorf("endpoint %q: %w", endpoint, err)
	}
	cfg, err := config.New(accessKeyID, secretAccessKey)
	if err != nil {
		return nil, err
	}
	cfg.Protocol, cfg.Host, cfg.Port = u.Scheme, u.Hostname(), port
	cfg.LogLevel = "fatal"        // errors are returned; nobody needs them twice
	cfg.DisableURICleaning = true // a//b is not a/b
	return service.Init(cfg)
}

// CreateBucket creates the bucket; one that exists is fine.
func CreateBucket(b *service.Bucket) error {
	_, err := b.Put()
	if StatusOf(err) == http.StatusConflict {
		return nil
	}
	return err
}

// StatusOf returns the HTTP status of an error of the client, 0 if it has none.
func StatusOf(err error) int {
	var e *sdk.QingStorError
	if errors.As(err, &e) {
		return e.StatusCode
	}
	return 0
}

// CodeOf returns QingStor's error code of an error of the client.
func CodeOf(err error) string {
	var e *sdk.QingStorError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}
