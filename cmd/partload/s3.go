package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"partstore/internal/qsclient"
)

// s3Store is a store that speaks S3. It asks for no more than the QingStor
// dialect does: bodies are neither signed nor sent with checksums, nothing is
// tried again, and no PUT waits for "100 Continue".
type s3Store struct{ client *s3.Client }

func openS3(cfg config, url string, client *http.Client) store {
	return s3Store{s3.New(s3.Options{
		BaseEndpoint: &url,
		UsePathStyle: true,
		Region:       cfg.region,
		HTTPClient:   client,
		Retryer:      aws.NopRetryer{},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: cfg.accessKeyID, SecretAccessKey: cfg.secretAccessKey}, nil
		}),
		RequestChecksumCalculation:   aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation:   aws.ResponseChecksumValidationWhenRequired,
		ContinueHeaderThresholdBytes: -1,
	})}
}

// CreateBucket implements store.
func (s s3Store) CreateBucket(ctx context.Context, bucket string) error {
	_, err := s.client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &bucket})
	return s3Error(err)
}

// Initiate implements store.
func (s s3Store) Initiate(ctx context.Context, bucket, key string) (string, error) {
	out, err := s.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return "", s3Error(err)
	}
	return aws.ToString(out.UploadId), nil
}

// PutPart implements store. S3 counts parts from 1.
func (s s3Store) PutPart(ctx context.Context, bucket, key, uploadID string, number int, body io.Reader, size int64) (string, error) {
	if size == 0 {
		body = http.NoBody
	}
	out, err := s.client.UploadPart(ctx, &s3.UploadPartInput{
		Bucket: &bucket, Key: &key, UploadId: &uploadID, PartNumber: s3Number(number), Body: body, ContentLength: &size,
	}, s3.WithAPIOptions(v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware))
	if err != nil {
		return "", s3Error(err)
	}
	return strings.Trim(aws.ToString(out.ETag), `"`), nil
}

// ListParts implements store.
func (s s3Store) ListParts(ctx context.Context, bucket, key, uploadID string, after, limit int) (qsclient.PartPage, error) {
	page := qsclient.PartPage{Count: -1}
	in := &s3.ListPartsInput{Bucket: &bucket, Key: &key, UploadId: &uploadID}
	if after >= 0 {
		in.PartNumberMarker = aws.String(strconv.Itoa(after + 1))
	}
	// An answer may hold less than was asked for.
	for len(page.Parts) < limit {
		in.MaxParts = aws.Int32(int32(limit - len(page.Parts)))
		out, err := s.client.ListParts(ctx, in)
		if err != nil {
			return page, s3Error(err)
		}
		for _, p := range out.Parts {
			page.Parts = append(page.Parts, qsclient.Part{
				Number: int(aws.ToInt32(p.PartNumber)) - 1, Size: aws.ToInt64(p.Size), ETag: strings.Trim(aws.ToString(p.ETag), `"`),
			})
		}
		if !aws.ToBool(out.IsTruncated) {
			break
		}
		if len(out.Parts) == 0 {
			return page, errors.New("a truncated list without parts")
		}
		in.PartNumberMarker = out.NextPartNumberMarker
	}
	return page, nil
}

// Complete implements store.
func (s s3Store) Complete(ctx context.Context, bucket, key, uploadID string, parts []qsclient.Part) error {
	var list []types.CompletedPart
	for _, p := range parts {
		list = append(list, types.CompletedPart{PartNumber: s3Number(p.Number), ETag: aws.String(`"` + p.ETag + `"`)})
	}
	_, err := s.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &bucket, Key: &key, UploadId: &uploadID, MultipartUpload: &types.CompletedMultipartUpload{Parts: list},
	})
	return s3Error(err)
}

// Abort implements store.
func (s s3Store) Abort(ctx context.Context, bucket, key, uploadID string) error {
	_, err := s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &bucket, Key: &key, UploadId: &uploadID})
	return s3Error(err)
}

// Get implements store.
func (s s3Store) Get(ctx context.Context, bucket, key, byteRange string) (io.ReadCloser, string, error) {
	in := &s3.GetObjectInput{Bucket: &bucket, Key: &key}
	if byteRange != "" {
		in.Range = &byteRange
	}
	out, err := s.client.GetObject(ctx, in)
	if err != nil {
		return nil, "", s3Error(err)
	}
	id, _ := middleware.GetRequestIDMetadata(out.ResultMetadata)
	return out.Body, id, nil
}

// DeleteObject implements store.
func (s s3Store) DeleteObject(ctx context.Context, bucket, key string) error {
	_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: &key})
	return s3Error(err)
}

func s3Number(number int) *int32 { return aws.Int32(int32(number) + 1) }

// s3Error turns an answer that is an error into ours; what is no answer stays.
func s3Error(err error) error {
	var answer *smithyhttp.ResponseError
	if !errors.As(err, &answer) {
		return err
	}
	e := &qsclient.Error{Status: answer.HTTPStatusCode(), RequestID: answer.Response.Header.Get("X-Amz-Request-Id")}
	var api smithy.APIError
	if errors.As(err, &api) {
		e.Code, e.Message = api.ErrorCode(), api.ErrorMessage()
	}
	return e
}
