package inject

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/aftermesh/aftermesh/pkg/inject/bootstrap"
)

// envoyBinary is the place of Envoy in both flavours of the stock image. It is absolute because the distroless one has no
// shell and no search path to rely on.
const envoyBinary = "/usr/local/bin/envoy"

// drainSeconds is how long connections of changed filter chains may live. With the strategy "immediate" every HTTP
// connection is told to close at once, while WebSockets, gRPC streams and databases get this long.
const drainSeconds = 600

// args is Envoy's command line, and that of the helper, which is empty where Envoy gets its bootstrap by an argument.
func (t tuning) args() (envoy, helper []string, err error) {
	b, err := bootstrap.New(t.settings)
	if err != nil {
		return nil, nil, err
	}
	config, err := bootstrap.Argument(b)
	if err != nil {
		return nil, nil, err
	}
	source := []string{"--config-yaml", config}
	if t.files {
		source, helper = []string{"-c", mergedBootstrap}, []string{"--base", config, "--output", mergedBootstrap}
	}
	return append(source,
		"--log-level", t.logLevel,
		"--concurrency", fmt.Sprint(t.concurrency),
		"--drain-strategy", "immediate",
		"--drain-time-s", fmt.Sprint(drainSeconds),
		"--disable-hot-restart",
		"--skip-deprecated-logs",
	), helper, nil
}

// oursToStart tells the arguments of an earlier injection from a user's.
func oursToStart(args []string) bool {
	return len(args) > 1 && (args[0] == "--config-yaml" || args[0] == "-c" && args[1] == mergedBootstrap)
}

// file is the bootstrap as a file that several pods may share: nothing in it is replaced per pod.
func (t tuning) file() (string, error) {
	s := t.settings
	s.Metadata, s.Locality = nil, bootstrap.Locality{}
	b, err := bootstrap.New(s)
	if err != nil {
		return "", err
	}
	return bootstrap.JSON(b)
}

// readyProbe asks Envoy whether it has its configuration. The port opens only then.
func (c Config) readyProbe() *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
			Path: "/ready", Port: intstr.FromInt32(int32(c.AdminPort)), Scheme: corev1.URISchemeHTTP,
		}},
		TimeoutSeconds: 1, SuccessThreshold: 1, FailureThreshold: 3,
	}
}

// readyURL asks the same from inside the pod, whatever its address families.
func (c Config) readyURL() string { return fmt.Sprintf("http://localhost:%d/ready", c.AdminPort) }

// readinessProbe has App Mesh's numbers.
func (c Config) readinessProbe() *corev1.Probe {
	p := c.readyProbe()
	p.InitialDelaySeconds = int32(c.ReadinessInitialDelay / time.Second)
	p.PeriodSeconds = int32(c.ReadinessPeriod / time.Second)
	return p
}

// startupProbe keeps the application from starting before Envoy has its configuration.
func (c Config) startupProbe() *corev1.Probe {
	p := c.readyProbe()
	p.PeriodSeconds = 1
	p.FailureThreshold = max(1, int32(c.PostStartTimeout/time.Second))
	return p
}
