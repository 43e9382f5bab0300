package qsclient

import (
	"errors"
	"net/http"
)

// StatusOf is the status of the answer that err is about: 200 without an error, 0
// if there was no answer.
func StatusOf(err error) int {
	var answer *Error
	switch {
	case err == nil:
		return http.StatusOK
	case errors.As(err, &answer):
		return answer.Status
	}
	return 0
}
