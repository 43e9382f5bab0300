// Partload puts load on a cluster and verifies every byte that comes back.
//
// All content is made from a seed, so nothing sent has to be remembered to be
// checked. Load without verification proves little, so there is no switch to
// turn it off: a wrong byte, a part that is gone, a 404 for something that
// exists or an answer for something that does not is a finding, and any finding
// makes the exit status 1.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr, os.Getenv))
}
