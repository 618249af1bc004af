package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/aftermesh/aftermesh/pkg/inject/bootstrap"
)

func newBootstrap() *cobra.Command {
	var base, output, install string
	c := &cobra.Command{
		Use:   "bootstrap",
		Short: "Prepare what a pod's proxy needs before it starts",
		Long: `Runs as the init container envoy-bootstrap of pods that need it. It merges the files that App Mesh's variables name
(ENVOY_CONFIG_FILE, ENVOY_TRACING_CFG_FILE, ENVOY_STATS_CONFIG_FILE, ENVOY_STATS_SINKS_CFG_FILE, ENVOY_RESOURCES_CONFIG_FILE) into the
bootstrap that the injector made, and copies itself to where the proxy's container can run it, each if the flag for it is given.`,
		Example: `  ENVOY_STATS_CONFIG_FILE=stats.yaml aftermesh bootstrap --base "$BOOTSTRAP" --output /var/run/aftermesh/bootstrap.json`,
		Args:    atMost(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			if (base == "") != (output == "") || output == "" && install == "" {
				return usageError{errors.New("--base and --output belong together; without them there must be --install")}
			}
			if output != "" {
				if err := writeBootstrap(c.ErrOrStderr(), base, output); err != nil {
					return err
				}
			}
			if install == "" {
				return nil
			}
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find this program: %w", err)
			}
			return copyFile(self, install, 0o755)
		},
	}
	c.Flags().StringVar(&base, "base", "", "bootstrap of the injector, as JSON")
	c.Flags().StringVar(&output, "output", "", "file for the merged bootstrap")
	c.Flags().StringVar(&install, "install", "", "file to copy this program to")
	return c
}

// writeBootstrap merges the files that the environment names into base.
func writeBootstrap(log io.Writer, base, output string) error {
	var files []bootstrap.File
	for _, variable := range bootstrap.FileVariables {
		path := os.Getenv(variable)
		if path == "" {
			continue
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("variable %s names a file that cannot be read; mount it into the proxy by the annotation appmesh.k8s.aws/volumeMounts or secretMounts: %w", variable, err)
		}
		files = append(files, bootstrap.File{Variable: variable, Path: path, Content: content})
	}
	merged, warnings, err := bootstrap.Merge([]byte(base), files)
	if err != nil {
		return err
	}
	for _, warning := range warnings {
		fmt.Fprintln(log, "Warning:", warning)
	}
	return replaceFile(output, merged, 0o644)
}

func copyFile(from, to string, mode os.FileMode) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return replaceFile(to, content, mode)
}

// replaceFile writes a file in one step: nobody sees half of it.
func replaceFile(path string, content []byte, mode os.FileMode) error {
	part, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = part.Write(content)
	if err = errors.Join(err, part.Chmod(mode), part.Close()); err == nil {
		err = os.Rename(part.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(part.Name()))
	}
	return nil
}
