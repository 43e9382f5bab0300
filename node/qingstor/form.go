package qingstor

import (
	"encoding/json"
	"errors"
	"io"
	"math"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"

	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
)

// Bounds of what comes before the file of a form.
const (
	maxFormFields = 100
	maxFormBytes  = 1 << 20 // of all fields together, with their headers
)

// form is a multipart/form-data body up to its file, the last field that counts.
type form struct {
	fields   map[string]string // names in lower case
	filename string            // as the client sent it, in its charset
	fileType string
	file     io.Reader
}

// readForm reads the fields and leaves the file to be read.
func readForm(contentType string, body io.Reader) (*form, error) {
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil || params["boundary"] == "" {
		return nil, refuse(errInvalidRequest, "The Content-Type of a form needs a boundary")
	}
	limited := &budget{r: body, left: maxFormBytes}
	parts := multipart.NewReader(limited, params["boundary"])
	f := &form{fields: map[string]string{}}
	for {
		part, err := parts.NextRawPart()
		if err != nil {
			return nil, formError(err, "The form has no field named file")
		}
		name := strings.ToLower(part.FormName())
		if name == "file" {
			limited.left = math.MaxInt64 // the file has a limit of its own
			f.filename, f.fileType = fileName(part.Header.Get("Content-Disposition")), part.Header.Get("Content-Type")
			f.file = filePart{part}
			return f, nil
		}
		if _, twice := f.fields[name]; twice || name == "" || len(f.fields) == maxFormFields {
			return nil, refuse(errInvalidRequest, "The form has a field without a name, one twice, or more than %d", maxFormFields)
		}
		value, err := io.ReadAll(part)
		if err != nil {
			return nil, formError(err, "The form ends in the middle of a field")
		}
		f.fields[name] = string(value)
	}
}

// formError keeps errors of the body and of bounds, and says what else is wrong.
func formError(err error, otherwise string) error {
	switch own := new(refusal); {
	case errors.As(err, &own), errors.Is(err, ErrIncompleteBody), errors.Is(err, ErrBodyTooLarge):
		return err
	}
	return refuse(errInvalidRequest, "%s", otherwise)
}

// budget is a reader that refuses to go on after so many bytes.
type budget struct {
	r    io.Reader
	left int64
}

func (b *budget) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, refuse(errInvalidRequest, "The fields of the form have more than %d bytes", maxFormBytes)
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// filePart is the payload. It ends with the boundary behind it; a form that ends
// before is cut.
type filePart struct{ *multipart.Part }

func (f filePart) Read(p []byte) (int, error) {
	n, err := f.Part.Read(p)
	if err != nil && err != io.EOF && !errors.Is(err, ErrBodyTooLarge) {
		err = errors.Join(ErrIncompleteBody, err)
	}
	return n, err
}

// fileName is what multipart gives only without its directory.
func fileName(disposition string) string {
	_, params, err := mime.ParseMediaType(disposition)
	if err != nil {
		return ""
	}
	return params["filename"]
}

// key is the object key the form asks for: ${filename} stands for the file's
// name without directories.
func (f *form) key() (string, error) {
	key, given := f.fields["key"]
	if !given {
		return "", refuse(errInvalidArgument, "The form has no field named key")
	}
	if strings.Contains(key, "${filename}") {
		name, err := decodeCharset(f.filename, f.fields["charset"])
		if err != nil {
			return "", err
		}
		key = strings.ReplaceAll(key, "${filename}", name[strings.LastIndexAny(name, `/\`)+1:])
	}
	if strings.HasPrefix(key, "/") {
		return "", refuse(errInvalidObjectName, "The key of a form must not begin with a slash")
	}
	return key, checkKey(key)
}

func decodeCharset(s, charset string) (decoded string, err error) {
	switch strings.ToLower(charset) {
	case "", "utf-8", "utf8":
		return s, nil
	case "gbk":
		decoded, err = simplifiedchinese.GBK.NewDecoder().String(s)
	case "big5":
		decoded, err = traditionalchinese.Big5.NewDecoder().String(s)
	default:
		return "", refuse(errInvalidArgument, "The charset is none of UTF-8, GBK and Big5")
	}
	if err != nil {
		return "", refuse(errInvalidArgument, "The file name is not in the charset of the form")
	}
	return decoded, nil
}

// header is what the form says of the object, as a request would.
func (f *form) header() (http.Header, error) {
	h := http.Header{}
	for name, value := range f.fields {
		if strings.HasPrefix(name, "x-qs-encryption-") {
			return nil, errNotImplemented
		}
		h.Set(name, value)
	}
	switch given := h.Get("Content-Type"); {
	case given == "" && f.fileType != "":
		h.Set("Content-Type", f.fileType)
	case given != f.fileType:
		return nil, refuse(errInvalidArgument, "The field content-type differs from the type of the file")
	}
	return h, nil
}

// signed reports whether the form says who sends it.
func (f *form) signed() bool {
	_, id := f.fields["access_key_id"]
	_, policy := f.fields["policy"]
	_, signature := f.fields["signature"]
	return id || policy || signature
}

// obeys compares the form with its policy: a flat object that has every field
// before the file but the three of the signature itself, and nothing else.
func (f *form) obeys(policy []byte) error {
	var allowed map[string]string
	if json.Unmarshal(policy, &allowed) != nil {
		return refuse(errFormPolicyViolated, "The policy is not a flat JSON object of strings")
	}
	lower := map[string]string{}
	for name, value := range allowed {
		lower[strings.ToLower(name)] = value
	}
	count := 0
	for name, value := range f.fields {
		switch name {
		case "access_key_id", "policy", "signature":
			continue
		}
		if want, given := lower[name]; !given || want != value {
			return refuse(errFormPolicyViolated, "The field %q is not as the policy has it", name)
		}
		count++
	}
	if count != len(lower) {
		return refuse(errFormPolicyViolated, "The form lacks fields of the policy")
	}
	return nil
}
