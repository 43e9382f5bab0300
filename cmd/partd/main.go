// Partd is the server: one node of a Partstore cluster, or with "partd dev" a
// whole cluster in one process.
//
// This package reads flags, environment and files, and turns signals into the
// end of a context. What a node does is in package node.
package main

import (
	"context"
	"os"
)

func main() {
	setTimerSlack()
	os.Exit(run(context.Background(), os.Args[1:], stdio{in: os.Stdin, out: os.Stdout, err: os.Stderr}, os.Environ()))
}
