package main

import "github.com/spf13/cobra"

func newConfig(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Examine the settings",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newConfigCheck(environ))
	return cmd
}
