package cli

import (
	"os"
	"strconv"

	"github.com/go-logr/logr"
	"github.com/go-logr/zapr"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/aftermesh/aftermesh/controllers"
	"github.com/aftermesh/aftermesh/pkg/inject"
)

func newOperator() *cobra.Command {
	o := newOperatorFlags()
	c := &cobra.Command{
		Use:   "operator",
		Short: "Run the control plane in a cluster",
		Long: `Runs the manager: webhooks, xDS, statuses, metrics. It expects to run in a pod of the namespace aftermesh-system.
All flags of the App Mesh controller are accepted; those that only made sense with AWS have no effect.`,
		Example: `  aftermesh operator --log-level=debug`,
		Args:    atMost(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			log, err := newLogger(o.logLevel)
			if err != nil {
				return err
			}
			if err := o.complete(c.Flags(), log); err != nil {
				return usageError{err}
			}
			cfg, err := ctrl.GetConfig()
			if err != nil {
				return err
			}
			limitMemory(os.Getenv)
			return controllers.Run(c.Context(), cfg, o.Options, log)
		},
	}
	o.add(c.Flags())
	return c
}

// OperatorFlags are the flags of the verb operator with their defaults.
func OperatorFlags() *pflag.FlagSet {
	f := pflag.NewFlagSet("operator", pflag.ContinueOnError)
	newOperatorFlags().add(f)
	return f
}

// InjectConfig returns the settings by which an operator with these flags shapes pods. What it learns from its cluster is missing:
// versions, addresses, the root certificate and, unless a flag names one, the image of the redirect step.
func InjectConfig(flags []string) (inject.Config, error) {
	f := pflag.NewFlagSet("operator", pflag.ContinueOnError)
	o := newOperatorFlags()
	o.add(f)
	if err := f.Parse(flags); err != nil {
		return inject.Config{}, err
	}
	err := o.complete(f, logr.Discard())
	return o.Inject, err
}

// newLogger writes JSON lines; "debug" shows one line per pass, a number n shows V(n), anything else is info.
// Source: App Mesh controller, flag log-level.
func newLogger(level string) (logr.Logger, error) {
	cfg := zap.NewProductionConfig()
	cfg.EncoderConfig.EncodeTime = zapcore.ISO8601TimeEncoder
	cfg.Level = zap.NewAtomicLevelAt(zapcore.InfoLevel)
	if level == "debug" {
		cfg.Level = zap.NewAtomicLevelAt(zapcore.DebugLevel)
	} else if n, err := strconv.ParseInt(level, 10, 8); err == nil && n > 0 {
		cfg.Level = zap.NewAtomicLevelAt(zapcore.Level(-n))
	}
	z, err := cfg.Build()
	if err != nil {
		return logr.Logger{}, err
	}
	log := zapr.NewLogger(z)
	ctrl.SetLogger(log)
	klog.SetLogger(log.WithName("client"))
	return log, nil
}
