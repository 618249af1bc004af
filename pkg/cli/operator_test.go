package cli

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/aftermesh/aftermesh/pkg/inject/bootstrap"
)

func TestFlagsThatNoOperatorStartsWith(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, flags, want string }{
		{"an unknown flag", "--dance", "unknown flag: --dance"},
		{"a number that is none", "--prestop-delay=soon", "invalid argument"},
		{"a port that is none", "--envoy-admin-access-port=0", "0 is not a port"},
		{"two tracing systems", "--enable-jaeger-tracing --enable-xray-tracing", "only one of --enable-xray-tracing, --enable-jaeger-tracing"},
		{"an unknown TLS version", "--tls-min-version=TLS9", "neither VersionTLS12 nor VersionTLS13"},
	} {
		if _, err := InjectConfig(strings.Fields(c.flags)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestFlagsReachTheInjector(t *testing.T) {
	t.Parallel()
	c, err := InjectConfig([]string{"--sidecar-image-tag=v9", "--enable-xray-tracing", "--xray-daemon-port=2001", "--aws-account-id=1.23456789012e+11", "--preview"})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(c.SidecarImage, ":v9") || c.Tracing.Kind != bootstrap.XRay || c.Tracing.Port != 2001 || c.AccountID != "123456789012" || !c.Preview {
		t.Errorf("%+v", c)
	}
}

// TestKeysOfAWSStayOutOfPods holds for the flags by which App Mesh's controller copied long-lived keys into pods.
func TestKeysOfAWSStayOutOfPods(t *testing.T) {
	t.Parallel()
	OperatorFlags().VisitAll(func(f *pflag.Flag) {
		if strings.HasPrefix(f.Name, "envoy-aws-") && f.Usage != noEffect {
			t.Errorf("--%s: %s", f.Name, f.Usage)
		}
	})
}
