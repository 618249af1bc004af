package cli

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// runVerb, when it is set, makes the test's own program the command line with these words, or with its arguments.
const (
	runVerb     = "AFTERMESH_TEST_RUN"
	byArguments = "arguments"
)

func TestMain(m *testing.M) {
	if words := os.Getenv(runVerb); words == byArguments {
		os.Exit(Run(append([]string{"aftermesh"}, os.Args[1:]...), os.Stdin, os.Stdout, os.Stderr))
	} else if words != "" {
		os.Exit(Run(strings.Fields(words), os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

func TestSignalsEndVerbsThatReadManifests(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"check -f -", "translate -f - --proxy a/b", "inject -f -", "explain route -f - --from a/b GET http://x/"} {
		t.Run(verb, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), runVerb+"=aftermesh "+verb)
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			// More than fits into a pipe: when it is written, the program reads and never finds an end.
			if _, err := io.WriteString(in, strings.Repeat("# nothing\n", 100_000)); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			alarm := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
			err = cmd.Wait()
			if !alarm.Stop() {
				t.Fatal("the program goes on after SIGTERM")
			}
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
				t.Errorf("it ended with %v, not by SIGTERM", err)
			}
		})
	}
}
