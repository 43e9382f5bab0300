package qingstor

import (
	"context"
	"net/http"
	"slices"
	"strings"
)

// access says who may call an operation, and whether the bucket must exist.
type access uint8

const (
	anyone  access = iota // no signature needed; one that is given is still checked
	signed                // any known caller
	creator               // any known caller; the bucket need not exist
	reader                // who may read the bucket
	writer                // who may write to it
	owner                 // its owner alone
)

// route is one way to reach one operation.
type route struct {
	op     string // in metrics, logs and docs/compatibility.md
	level  level
	method string
	params string // sub-resources of the operation, blank-separated; one must be present
	header string // a header that must be present; "Name: prefix" asks for the value too
	access access
	serve  func(*call, context.Context) error // nil: not built
}

// routes is every operation of the dialect. The first row that matches a
// request wins. A row matches only a request whose sub-resources it all names,
// so DELETE /bucket?uploads can never delete the bucket.
var routes = []route{
	{"list_locations", serviceLevel, "GET", "location", "", anyone, (*call).listLocations},
	{"list_buckets", serviceLevel, "GET", "", "", signed, (*call).listBuckets},

	{"get_bucket_acl", bucketLevel, "GET", "acl", "", owner, (*call).getSetting},
	{"put_bucket_acl", bucketLevel, "PUT", "acl", "", owner, (*call).putSetting},
	{"get_bucket_cors", bucketLevel, "GET", "cors", "", owner, (*call).getSetting},
	{"put_bucket_cors", bucketLevel, "PUT", "cors", "", owner, (*call).putSetting},
	{"delete_bucket_cors", bucketLevel, "DELETE", "cors", "", owner, (*call).deleteSetting},
	{"get_bucket_policy", bucketLevel, "GET", "policy", "", owner, (*call).getSetting},
	{"put_bucket_policy", bucketLevel, "PUT", "policy", "", owner, (*call).putSetting},
	{"delete_bucket_policy", bucketLevel, "DELETE", "policy", "", owner, (*call).deleteSetting},
	{"get_bucket_lifecycle", bucketLevel, "GET", "lifecycle", "", owner, (*call).getSetting},
	{"put_bucket_lifecycle", bucketLevel, "PUT", "lifecycle", "", owner, (*call).putSetting},
	{"delete_bucket_lifecycle", bucketLevel, "DELETE", "lifecycle", "", owner, (*call).deleteSetting},
	{"get_bucket_notification", bucketLevel, "GET", "notification", "", owner, (*call).getSetting},
	{"put_bucket_notification", bucketLevel, "PUT", "notification", "", owner, (*call).putSetting},
	{"delete_bucket_notification", bucketLevel, "DELETE", "notification", "", owner, (*call).deleteSetting},
	{"get_bucket_mirror", bucketLevel, "GET", "mirror", "", owner, (*call).getSetting},
	{"put_bucket_mirror", bucketLevel, "PUT", "mirror", "", owner, (*call).putSetting},
	{"delete_bucket_mirror", bucketLevel, "DELETE", "mirror", "", owner, (*call).deleteSetting},
	{"get_bucket_logging", bucketLevel, "GET", "logging", "", owner, (*call).getSetting},
	{"put_bucket_logging", bucketLevel, "PUT", "logging", "", owner, (*call).putSetting},
	{"delete_bucket_logging", bucketLevel, "DELETE", "logging", "", owner, (*call).deleteSetting},
	{"get_bucket_replication", bucketLevel, "GET", "replication", "", owner, (*call).getSetting},
	{"put_bucket_replication", bucketLevel, "PUT", "replication", "", owner, (*call).putSetting},
	{"delete_bucket_replication", bucketLevel, "DELETE", "replication", "", owner, (*call).deleteSetting},
	{"get_bucket_cname", bucketLevel, "GET", "cname", "", owner, (*call).getCNAME},
	{"put_bucket_cname", bucketLevel, "PUT", "cname", "", owner, (*call).putCNAME},
	{"delete_bucket_cname", bucketLevel, "DELETE", "cname", "", owner, (*call).deleteCNAME},
	{"get_bucket_versioning", bucketLevel, "GET", "versioning", "", owner, (*call).getSetting},
	{"put_bucket_versioning", bucketLevel, "PUT", "versioning", "", owner, (*call).putSetting},
	{"get_bucket_stats", bucketLevel, "GET", "stats", "", owner, (*call).getBucketStats},
	{"list_multipart_uploads", bucketLevel, "GET", "uploads", "", reader, (*call).listUploads},
	{"list_object_versions", bucketLevel, "GET", "versions", "", reader, nil},
	{"delete_multiple_objects", bucketLevel, "POST", "delete", "", signed, (*call).deleteObjects},
	// The signature of a form is one of its fields, so nobody is known yet.
	{"post_object", bucketLevel, "POST", "", "Content-Type: multipart/form-data", anyone, (*call).postObject},
	{"put_bucket", bucketLevel, "PUT", "", "", creator, (*call).putBucket},
	{"list_objects", bucketLevel, "GET", "", "", reader, (*call).listObjects},
	{"head_bucket", bucketLevel, "HEAD", "", "", reader, (*call).headBucket},
	{"delete_bucket", bucketLevel, "DELETE", "", "", owner, (*call).deleteBucket},
	{"options_bucket", bucketLevel, "OPTIONS", "", "", anyone, (*call).answerOptions},

	{"initiate_multipart_upload", objectLevel, "POST", "uploads", "", writer, (*call).initiateUpload},
	{"append_object", objectLevel, "POST", "append position", "", writer, (*call).appendObject},
	{"complete_multipart_upload", objectLevel, "POST", "upload_id", "", writer, (*call).completeUpload},
	{"copy_part", objectLevel, "PUT", "upload_id part_number", copySource, writer, (*call).copyPart},
	{"upload_part", objectLevel, "PUT", "upload_id part_number", "", writer, (*call).uploadPart},
	{"list_parts", objectLevel, "GET", "upload_id", "", reader, (*call).listParts},
	{"abort_multipart_upload", objectLevel, "DELETE", "upload_id", "", writer, (*call).abortUpload},
	{"process_image", objectLevel, "GET", "image", "", reader, (*call).processImage},
	{"get_object_version", objectLevel, "GET", "version_id", "", reader, nil},
	{"head_object_version", objectLevel, "HEAD", "version_id", "", reader, nil},
	{"delete_object_version", objectLevel, "DELETE", "version_id", "", writer, nil},
	{"copy_object", objectLevel, "PUT", "", copySource, writer, (*call).copyObject},
	{"move_object", objectLevel, "PUT", "", moveSource, writer, (*call).moveObject},
	{"fetch_object", objectLevel, "PUT", "", fetchSource, writer, (*call).fetchObject},
	{"put_object", objectLevel, "PUT", "", "", writer, (*call).putObject},
	{"get_object", objectLevel, "GET", "", "", reader, (*call).getObject},
	{"head_object", objectLevel, "HEAD", "", "", reader, (*call).headObject},
	{"delete_object", objectLevel, "DELETE", "", "", writer, (*call).deleteObject},
	{"options_object", objectLevel, "OPTIONS", "", "", anyone, (*call).answerOptions},
}

// operationParams are the sub-resources that name an operation or what it works
// on, as opposed to those that only shape its answer.
var operationParams = strings.Fields(`acl append cname cors delete image lifecycle
	location logging mirror notification part_number policy position replication
	stats upload_id uploads version_id versioning versions`)

// dispatch finds the route of a request.
func dispatch(method string, l level, q query, h http.Header) (*route, error) {
	for i := range routes {
		if r := &routes[i]; r.level == l && r.method == method && r.matches(q, h) {
			return r, nil
		}
	}
	return nil, errMethodNotAllowed
}

func (r *route) matches(q query, h http.Header) bool {
	if r.method == http.MethodOptions {
		return true // a browser asks about whatever it is about to send
	}
	own := strings.Fields(r.params)
	for _, p := range q {
		if slices.Contains(operationParams, p.key) && !slices.Contains(own, p.key) {
			return false
		}
	}
	return (len(own) == 0 || slices.ContainsFunc(own, q.has)) && r.headerMatches(h)
}

func (r *route) headerMatches(h http.Header) bool {
	if r.header == "" {
		return true
	}
	name, prefix, _ := strings.Cut(r.header, ": ")
	values := h[name]
	return len(values) > 0 && len(values[0]) >= len(prefix) && strings.EqualFold(values[0][:len(prefix)], prefix)
}

// allowedMethods is the Allow header of a 405.
func allowedMethods(l level) string {
	var methods []string
	for _, r := range routes {
		if r.level == l && !slices.Contains(methods, r.method) {
			methods = append(methods, r.method)
		}
	}
	return strings.Join(methods, ", ")
}
