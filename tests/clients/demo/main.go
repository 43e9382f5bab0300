// Demo shows the main job on a cluster of six nodes: a file goes in, in parts,
// through all of them; two nodes go away; the file comes back, byte for byte,
// through each of the others. It exits with 0 only if all of that was so, and
// leaves nothing behind unless told to.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

const usage = `usage: demo [--keep] [--partd PATH] [FILE]

Uploads FILE (default: 200 MiB made up) to six nodes in one process, stops two
of them, and reads it back through each of the others.

  --keep        leave the cluster's data behind and say where
  --partd PATH  the partd program (default: partd in the PATH)
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, out, stderr io.Writer) int {
	opts, err := parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(out, usage)
		return 0
	case err != nil:
		fmt.Fprintf(stderr, "demo: %v\n%s", err, usage)
		return 2
	}
	err = demo(ctx, opts, newStory(out))
	switch {
	case err != nil && ctx.Err() != nil:
		fmt.Fprintln(stderr, "\ndemo: interrupted")
		return 130
	case err != nil:
		fmt.Fprintln(stderr, "\ndemo:", err)
		return 1
	}
	return 0
}

// options is what the command line says.
type options struct {
	file  string // "" for made-up content
	partd string
	keep  bool
}

// parse takes options before and after FILE, as people type them.
func parse(args []string) (opts options, err error) {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.BoolVar(&opts.keep, "keep", false, "")
	flags.StringVar(&opts.partd, "partd", "partd", "")
	var files []string
	for {
		if err := flags.Parse(args); err != nil {
			return opts, err
		}
		if args = flags.Args(); len(args) == 0 {
			break
		}
		files, args = append(files, args[0]), args[1:]
	}
	switch {
	case len(files) > 1:
		return opts, fmt.Errorf("one FILE at most, got %q", files)
	case len(files) == 1 && files[0] == "":
		return opts, errors.New("the name of FILE is empty")
	case len(files) == 1:
		opts.file = files[0]
	}
	return opts, nil
}
