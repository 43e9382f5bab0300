package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/spf13/cobra"

	"partstore/node/admin"
)

// healthcheckTimeout bounds a health check; container engines run them often.
const healthcheckTimeout = 2 * time.Second

func newHealthcheck(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask the node on this machine whether it is ready",
		Long: `Healthcheck asks /readyz at admin_listen, found the way "partd serve" finds it.
It exits 0 if the node is ready and 1 with the reason if not, within 2 seconds.`,
		Args: noArgs,
	}
	addSettingFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		values, err := resolve(cmd.Flags(), environ)
		if err != nil {
			return err
		}
		for _, v := range values {
			if v.key == "admin_listen" {
				return checkHealth(cmd, v.text)
			}
		}
		panic("settings have no admin_listen")
	}
	return cmd
}

func checkHealth(cmd *cobra.Command, listen string) error {
	base, err := localURL(listen)
	if err != nil {
		return fmt.Errorf("admin_listen: %w", err)
	}
	client, err := admin.NewClient(base, "")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), healthcheckTimeout)
	defer cancel()
	if err := client.Ready(ctx); err != nil {
		return err
	}
	fmt.Fprintln(cmd.OutOrStdout(), "ready")
	return nil
}

// localURL is the URL at which this machine reaches a listener of its own.
func localURL(listen string) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", err
	}
	if ip := net.ParseIP(host); host == "" || ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port), nil
}
