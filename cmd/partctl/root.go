package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"partstore/node/admin"
)

const (
	addressEnv     = "PARTSTORE_ADMIN"
	tokenEnv       = "PARTSTORE_ADMIN_TOKEN"
	defaultAddress = "http://127.0.0.1:7073"
)

const rootHelp = `Partctl asks one node of a Partstore cluster how things are, and has it do
things. It talks to the node's operator API.

Exit status:
  0  done
  1  error
  2  usage
  3  done, and the cluster or the object is degraded
  4  unavailable or refused: no leader, node not reachable, wrong token`

// env is what every command works with.
type env struct {
	out, err  io.Writer
	getenv    func(string) string
	address   string
	tokenFile string
	output    string
}

// run executes one command line and returns its exit status.
func run(ctx context.Context, args []string, out, stderr io.Writer, getenv func(string) string) int {
	e := &env{out: out, err: stderr, getenv: getenv, output: formTable}
	root := newRoot(e)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil && !errors.Is(err, errDegraded) {
		e.printError(err)
	}
	return exitStatus(err)
}

func newRoot(e *env) *cobra.Command {
	root := &cobra.Command{
		Use:           "partctl",
		Short:         "Operate a Partstore cluster",
		Long:          rootHelp,
		Args:          exactly(),
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetOut(e.out)
	root.SetErr(e.err)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w: %w", errUsage, err) })
	flags := root.PersistentFlags()
	flags.StringVar(&e.address, "admin", "", "`URL` of a node's operator API; also "+addressEnv+" (default "+defaultAddress+")")
	flags.StringVar(&e.tokenFile, "token-file", "", "`path` of a file that holds the bearer token; also "+tokenEnv+", the token itself")
	flags.StringVarP(&e.output, "output", "o", formTable, "`form` of the output: table, or json")
	root.AddCommand(
		newStatus(e),
		newEvents(e),
		newDurability(e),
		newSim(e),
		group("node", "Nodes of the cluster", newNodeList(e), newNodeOKToStop(e), newNodeDrain(e), newNodeDecommission(e)),
		group("store", "Stores: drives of nodes", newStoreList(e),
			newStoreDuty(e, "drain", "draining", "Give the slots of a store to others while it still serves"),
			newStoreDuty(e, "out", "out", "Count a store as lost, though it may come back"),
			newStoreDuty(e, "replace", "dead", "Give up a dead drive for good"),
			newStoreDuty(e, "in", "in", "Let a store hold slots again, or cancel a drain")),
		group("member", "Members of the registry, and who of them votes", newMemberList(e), newMemberPromote(e), newMemberDemote(e),
			newMemberReplace(e), newMemberRemove(e), newMemberLeave(e), newMemberUnwish(e)),
		group("registry", "The replicated record itself", newRegistryCapacity(e), newRegistryBackup(e), newRegistryVerify(e),
			newRegistryRestore(e), newRegistryRecover(e), newRegistryAdopt(e)),
		group("user", "Users of the client API", newUserCreate(e), newUserList(e), newUserDelete(e)),
		group("key", "Access keys of users", newKeyCreate(e), newKeyList(e), newKeyDisable(e), newKeyEnable(e), newKeyRotate(e),
			newKeyDelete(e), newKeyReseal(e)),
		group("gc", "Space that deleted, replaced and aborted uploads give back", newGCStatus(e), newGCRun(e)),
		group("repair", "How chunks are healed", newRepairStatus(e), newRepairPause(e), newRepairResume(e), newRepairThrottle(e)),
		group("scrub", "Whether the drives still hold what was written", newScrubStatus(e), newScrubRun(e)),
		group("lifecycle", "What the rules of buckets delete", newLifecycleStatus(e)),
		group("upload", "Multipart uploads in progress", newUploadList(e), newUploadShow(e), newUploadAbort(e)),
		group("object", "Completed objects", newObjectInspect(e)),
	)
	return root
}

// group is a command that only holds others.
func group(name, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   name,
		Short: short,
		Args:  exactly(),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(commands...)
	return cmd
}

// exactly accepts one argument for each name, and none empty.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != len(names) || slices.Contains(args, "") {
			want := "no arguments"
			if len(names) > 0 {
				want = strings.Join(names, " ")
			}
			return fmt.Errorf("%w: %s wants %s, got %q", errUsage, cmd.CommandPath(), want, args)
		}
		return nil
	}
}

// atLeast accepts so many arguments or more, and none empty.
func atLeast(n int, want string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < n || slices.Contains(args, "") {
			return fmt.Errorf("%w: %s wants %s, got %q", errUsage, cmd.CommandPath(), want, args)
		}
		return nil
	}
}

// oneOrTwo accepts the second argument or not, and none empty.
func oneOrTwo(first, second string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			return exactly(first)(cmd, args)
		}
		return exactly(first, second)(cmd, args)
	}
}

// client returns a client of the node the flags and the environment name.
func (e *env) client() (*admin.Client, error) {
	address := defaultAddress
	for _, given := range []string{e.address, e.getenv(addressEnv)} {
		if given != "" {
			address = given
			break
		}
	}
	token := e.getenv(tokenEnv)
	if e.tokenFile != "" {
		b, err := os.ReadFile(e.tokenFile)
		if err != nil {
			return nil, err
		}
		token = strings.TrimSpace(string(b))
	}
	client, err := admin.NewClient(address, token)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	return client, nil
}

func (e *env) checkOutput() error {
	if e.output != formTable && e.output != formJSON {
		return fmt.Errorf("%w: output %q is neither table nor json", errUsage, e.output)
	}
	return nil
}

// runs wraps a command's function: it gets a client, and a bad --output is
// refused before anything is asked.
func (e *env) runs(f func(ctx context.Context, c *admin.Client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := e.checkOutput(); err != nil {
			return err
		}
		client, err := e.client()
		if err != nil {
			return err
		}
		return f(cmd.Context(), client, args)
	}
}

// offline wraps the function of a command that works on files.
func (e *env) offline(f func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := e.checkOutput(); err != nil {
			return err
		}
		return f(cmd.Context(), args)
	}
}
