package main

import (
	"github.com/spf13/cobra"

	"partstore/node/admin"
)

func newKeyDelete(e *env) *cobra.Command {
	return e.newDelete("KEY", "End an access key for good",
		`Delete ends an access key. It counts on no node for longer than a second more, and
its secret is gone; key disable can be undone. Without --yes nothing is done.`, (*admin.Client).DeleteKey)
}
