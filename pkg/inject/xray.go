package inject

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

const (
	xrayContainer = "xray-daemon"
	xrayPortName  = "xray"
)

// xrayLogLevels are those of the daemon; "prod" and empty are its default and set no argument.
var xrayLogLevels = []string{"", "prod", "dev", "debug", "info", "warn", "error"}

func (x XRay) validate() error {
	if x.Image == "" {
		return fmt.Errorf("xray-image must be set")
	}
	if !slices.Contains(xrayLogLevels, x.LogLevel) {
		return fmt.Errorf("xray-log-level %q must be one of dev, debug, info, warn, error, prod", x.LogLevel)
	}
	if x.RoleARN != "" && len(strings.SplitN(x.RoleARN, ":", 6)) != 6 || x.RoleARN != "" && !strings.HasPrefix(x.RoleARN, "arn:") {
		return fmt.Errorf("xray-config-roleArn %q is not an ARN", x.RoleARN)
	}
	_, err := xrayRate(Config{Tracing: Tracing{XRay: x}}, nil)
	return err
}

// xrayDaemon is the container that forwards spans to X-Ray.
func xrayDaemon(c Config, r request) (corev1.Container, error) {
	resources, err := c.Resources.override(r.resources).requirements()
	if err != nil {
		return corev1.Container{}, deny("%v", err)
	}
	x := c.Tracing.XRay
	out := corev1.Container{
		Name: xrayContainer, Image: x.Image, Resources: resources,
		Ports:           []corev1.ContainerPort{{Name: xrayPortName, ContainerPort: int32(c.Tracing.Port), Protocol: corev1.ProtocolUDP}},
		SecurityContext: restricted(proxyUID),
	}
	if c.Region != "" {
		out.Env = []corev1.EnvVar{{Name: "AWS_REGION", Value: c.Region}}
	}
	if r.xrayConfig != nil {
		out.VolumeMounts = []corev1.VolumeMount{{Name: r.xrayConfig.source, MountPath: r.xrayConfig.path, ReadOnly: true}}
		out.Command = []string{"/xray", "--config", strings.TrimSuffix(r.xrayConfig.path, "/") + "/xray-daemon.yaml"}
		return out, nil
	}
	if x.LogLevel != "" && x.LogLevel != "prod" {
		out.Args = append(out.Args, "--log-level", x.LogLevel)
	}
	if x.RoleARN != "" {
		out.Args = append(out.Args, "--role-arn", x.RoleARN)
	}
	return out, nil
}
