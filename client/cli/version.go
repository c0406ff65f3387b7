package cli

import (
	"runtime"

	"github.com/spf13/cobra"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: a.say("Show the version of this command", "このコマンドの版を表示する"),
		Args:  noArguments,
		RunE: func(*cobra.Command, []string) error {
			a.started = true
			if a.json {
				return a.printJSON(struct {
					Version string `json:"version"`
					Go      string `json:"go"`
				}{a.version, runtime.Version()}, false)
			}
			a.outf("inkan %s\n", a.version)
			return nil
		},
	}
}
