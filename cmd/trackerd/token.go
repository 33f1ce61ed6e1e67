package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"tracker/pkg/server"
)

// tokenCommand is the way back in for an admin who lost the token: whoever can
// write to the data directory may.
func tokenCommand() *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use:   "token",
		Short: "make a new admin token while the server is stopped",
		Example: `  trackerd token --data ./data
  export TRACK_TOKEN=$(trackerd token --data /var/lib/tracker)`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			token, err := server.NewAdminToken(cmd.Context(), data)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), token)
			return err
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "data directory of the stopped server")
	_ = cmd.MarkFlagRequired("data")
	return cmd
}
