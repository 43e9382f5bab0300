package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"
)

func newConfigCheck(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Print the effective settings and where each came from",
		Long: `Check prints what "partd serve" with the same flags, environment and file would
use, with secrets hidden, and everything that is wrong with it. It exits 1 if
anything is.`,
		Args: noArgs,
	}
	addSettingFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		values, err := resolve(cmd.Flags(), environ)
		printSettings(cmd.OutOrStdout(), values)
		_, invalid := build(values)
		if err := errors.Join(err, invalid); err != nil {
			return fmt.Errorf("the configuration is invalid:\n%w", err)
		}
		return nil
	}
	return cmd
}

func printSettings(w io.Writer, values []value) {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	t.SetStyle(table.StyleLight)
	t.Style().Options = table.OptionsNoBordersAndSeparators
	t.AppendHeader(table.Row{"setting", "value", "from"})
	for _, v := range values {
		t.AppendRow(table.Row{v.key, v.shown(), v.from()})
	}
	t.Render()
}

// shown is the value as it may be printed.
func (v value) shown() string {
	switch {
	case v.text == "":
		return "-"
	case v.secret:
		return "(hidden)"
	default:
		return v.text
	}
}

func (v value) from() string {
	if v.text == "" {
		return "-"
	}
	return v.origin
}
