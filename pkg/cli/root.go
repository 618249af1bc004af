package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/aftermesh/aftermesh/pkg/cni"
)

// Version of the release; set at link time.
var Version = "v0.1.0-dev"

// Exit codes.
const (
	exitOK    = 0
	exitFault = 1
	exitUsage = 2
)

// dies is the annotation of verbs that a signal ends as it ends any program: they compute, and look at no context meanwhile.
const dies = "dies-by-signals"

// errFault ends a verb that has already said what is wrong.
var errFault = errors.New("faults found")

// usageError is a wrong use of the command.
type usageError struct{ error }

// Run executes the command line and returns the exit code. Called as kubectl-aftermesh it is a kubectl plugin, called as aftermesh-cni a
// plugin of the container runtime.
func Run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if filepath.Base(args[0]) == cni.Type {
		return cni.Main(Version)
	}
	root := newRoot(strings.TrimPrefix(filepath.Base(args[0]), "kubectl-"))
	ctx := context.Background()
	verb, _, err := root.Find(args[1:])
	if err != nil {
		verb = root
	}
	if verb.Annotations[dies] == "" {
		var stop context.CancelFunc
		ctx, stop = signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
		defer stop()
	}
	root.SetArgs(args[1:])
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	if err = unknownVerb(root, args[1:]); err == nil {
		err = root.ExecuteContext(ctx)
	}
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errFault):
		return exitFault
	case errors.As(err, &usage) || strings.HasPrefix(err.Error(), "unknown command"):
		fmt.Fprintf(stderr, "Error: %v\nRun '%s --help' for usage.\n", err, verb.CommandPath())
		return exitUsage
	default:
		fmt.Fprintf(stderr, "Error: %v\n", err)
		return exitFault
	}
}

func newRoot(name string) *cobra.Command {
	root := &cobra.Command{
		Use:   name,
		Short: "A service mesh that speaks App Mesh's API with stock Envoy",
		Long: `Aftermesh runs App Mesh manifests (appmesh.k8s.aws/v1beta2) without AWS: an operator compiles them, a webhook
injects stock Envoy, and Envoy gets its configuration over delta xDS.`,
		SilenceUsage: true, SilenceErrors: true,
	}
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(
		newOperator(), newStandalone(), newRedirect(), newCNI(), newBootstrap(), newWaitReady(), newCheck(), newTranslate(), newExplain(), newInject(), newStatus(), newProxies(), newRestart(), newUninstall(), newVersion(),
	)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	return root
}

// exactly is cobra.ExactArgs with our exit code.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != n || slices.Contains(args, "") {
			return usageError{fmt.Errorf("expected %s%s", what, instead(args))}
		}
		return nil
	}
}

// atMost is cobra.MaximumNArgs with our exit code.
func atMost(n int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) > n || slices.Contains(args, "") {
			return usageError{fmt.Errorf("expected %s%s", what, instead(args))}
		}
		return nil
	}
}

// instead quotes the arguments that were given.
func instead(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return fmt.Sprintf(", not %q", args)
}
