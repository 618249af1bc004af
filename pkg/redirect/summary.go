package redirect

import (
	"fmt"
	"strings"
)

// Summary says what Apply did, for the log of the init container and for people who ask what would happen to a port.
type Summary struct {
	// Config is what is in force now; IPv6 is false in it when the kernel has no IPv6 even if it was asked for.
	Config Config
	// Warnings are facts that the operator should know but that do not stop the pod.
	Warnings []string
}

// String is the summary in a few lines, one fact each, without a trailing newline.
func (s Summary) String() string {
	lines := s.Config.Describe()
	for _, warning := range s.Warnings {
		lines = append(lines, "warning: "+warning)
	}
	return strings.Join(lines, "\n")
}

// Describe says in words what the rules do, one fact per line: inbound, outbound, exceptions, families.
func (c Config) Describe() []string {
	if !c.Enabled {
		return []string{fmt.Sprintf("redirect is off (%s is not 1); nothing was changed", EnvEnabled)}
	}
	var lines []string
	if len(c.AppPorts) > 0 {
		lines = append(lines, fmt.Sprintf("inbound: TCP ports %s go to %d; other ports reach the application directly", join(c.AppPorts), c.InboundPort))
	} else {
		lines = append(lines, "inbound: nothing is redirected")
	}
	lines = append(lines, fmt.Sprintf("outbound: TCP goes to %d, except", c.OutboundPort))
	if c.UID != nil {
		lines = append(lines, fmt.Sprintf("  from user %d (the proxy)", *c.UID))
	}
	if c.GID != nil {
		lines = append(lines, fmt.Sprintf("  from group %d (the proxy)", *c.GID))
	}
	lines = append(lines, fmt.Sprintf("  to ports %s (%s)", join(c.skipPorts()), reservedPortsComment))
	if skip := append(c.skipSpans(false), c.skipSpans(true)...); len(skip) > 0 {
		lines = append(lines, "  to addresses "+join(skip))
	}
	lines = append(lines, "  to the pod itself and on loopback")
	if c.IPv6 {
		return append(lines, "families: IPv4 and IPv6")
	}
	return append(lines, "families: IPv4; IPv6 is left alone")
}
