package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"partstore/metadata"
	"partstore/node/admin"
	"partstore/node/datadir"
)

var (
	// errUsage reports a command line that cannot be understood.
	errUsage = errors.New("usage")
	// errDegraded reports that the command did its work and what it found is
	// worse than it should be. The output has said so already.
	errDegraded = errors.New("degraded")
)

// exitTable is the only place where an error becomes an exit status. The first
// row that matches wins.
var exitTable = []struct {
	err    error
	status int
	code   string
}{
	{errUsage, 2, "usage"},
	{errDegraded, 3, "degraded"},
	{admin.ErrUnavailable, 4, "unavailable"},
	{admin.ErrNotReady, 4, "not_ready"},
	{admin.ErrUnauthorized, 4, "unauthorized"},
	{admin.ErrMargin, 4, "no_margin"},
	{admin.ErrConflict, 1, "members_changed"},
	{admin.ErrRefused, 1, "refused"},
	{admin.ErrNotFound, 1, "not_found"},
	{metadata.ErrDamaged, 1, "damaged"},
	{metadata.ErrQuorum, 1, "has_quorum"},
	{datadir.ErrRunning, 1, "running"},
	{datadir.ErrInUse, 1, "running"},
	{datadir.ErrWrongCluster, 1, "wrong_cluster"},
	{datadir.ErrHalfWay, 1, "half_way"},
	{datadir.ErrNotNode, 1, "not_a_node"},
}

func exitStatus(err error) int {
	if err == nil {
		return 0
	}
	for _, row := range exitTable {
		if errors.Is(err, row.err) {
			return row.status
		}
	}
	return 1
}

// errorCode is the node's own code if it sent one.
func errorCode(err error) string {
	if answer := (*admin.Error)(nil); errors.As(err, &answer) && answer.Code != "" {
		return answer.Code
	}
	for _, row := range exitTable {
		if errors.Is(err, row.err) {
			return row.code
		}
	}
	return "error"
}

// printError reports an error in the form of the output.
func (e *env) printError(err error) {
	if e.output != formJSON {
		fmt.Fprintln(e.err, "partctl:", err)
		return
	}
	json.NewEncoder(e.err).Encode(struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}{errorCode(err), err.Error()})
}
