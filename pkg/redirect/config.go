package redirect

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Names of the variables that the injector sets on the init container. They are App Mesh's, so that manifests and
// tools which set or read them keep working.
const (
	EnvEnabled           = "APPMESH_START_ENABLED"
	EnvIgnoreUID         = "APPMESH_IGNORE_UID"
	EnvIgnoreGID         = "APPMESH_IGNORE_GID"
	EnvInboundPort       = "APPMESH_ENVOY_INGRESS_PORT"
	EnvOutboundPort      = "APPMESH_ENVOY_EGRESS_PORT"
	EnvAppPorts          = "APPMESH_APP_PORTS"
	EnvIgnoredIPs        = "APPMESH_EGRESS_IGNORED_IP"
	EnvIgnoredPorts      = "APPMESH_EGRESS_IGNORED_PORTS"
	EnvIPv6              = "APPMESH_ENABLE_IPV6"
	tableName            = "aftermesh"
	reservedPortsComment = "22 and 53 are always left alone"
)

// alwaysIgnoredPorts are destination ports that are never redirected: SSH as in App Mesh, and DNS over TCP.
var alwaysIgnoredPorts = []uint16{22, 53}

// Config is what the redirect step has to know. Lists are sorted and free of duplicates when they come from FromEnv.
type Config struct {
	// Enabled is false when the environment switches the step off; Apply then changes nothing.
	Enabled bool
	// UID and GID name the proxy's own traffic, which leaves the pod untouched. Nil means not set; one of them must be.
	UID, GID *uint32
	// InboundPort receives what arrives for AppPorts (App Mesh: 15000). Needed only if AppPorts is not empty.
	InboundPort uint16
	// OutboundPort receives what the pod sends (App Mesh: 15001).
	OutboundPort uint16
	// AppPorts are the inbound ports to redirect. Empty: inbound traffic is left alone.
	AppPorts []uint16
	// IgnoredPorts are destination ports left alone besides 22 and 53.
	IgnoredPorts []uint16
	// IgnoredIPs are destinations left alone, of both families.
	IgnoredIPs []netip.Prefix
	// IPv6 says whether IPv6 traffic is redirected too.
	IPv6 bool
}

// FromEnv reads the configuration from environment variables through getenv (os.Getenv in the init container). Unset and
// empty are the same. Every fault is reported, each naming its variable. Defaults are App Mesh's: no inbound ports, IPv6 off.
func FromEnv(getenv func(string) string) (Config, error) {
	c := Config{Enabled: strings.TrimSpace(getenv(EnvEnabled)) == "1"}
	if !c.Enabled {
		return c, nil
	}
	var errs []error
	keep := func(name string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	var err error
	c.UID, err = parseID(getenv(EnvIgnoreUID))
	keep(EnvIgnoreUID, err)
	c.GID, err = parseID(getenv(EnvIgnoreGID))
	keep(EnvIgnoreGID, err)
	c.InboundPort, err = optionalPort(getenv(EnvInboundPort))
	keep(EnvInboundPort, err)
	c.OutboundPort, err = optionalPort(getenv(EnvOutboundPort))
	keep(EnvOutboundPort, err)
	c.AppPorts, err = ParsePorts(getenv(EnvAppPorts))
	keep(EnvAppPorts, err)
	c.IgnoredPorts, err = ParsePorts(getenv(EnvIgnoredPorts))
	keep(EnvIgnoredPorts, err)
	c.IgnoredIPs, err = ParsePrefixes(getenv(EnvIgnoredIPs))
	keep(EnvIgnoredIPs, err)
	c.IPv6 = strings.TrimSpace(getenv(EnvIPv6)) == "1"
	if len(errs) == 0 {
		errs = append(errs, c.Validate())
	}
	return c, errors.Join(errs...)
}

// Validate checks what must hold before rules can be made: an owner to exempt (otherwise the proxy would be redirected to
// itself without end), an outbound port, and an inbound port when inbound ports are listed.
func (c Config) Validate() error {
	if c.UID == nil && c.GID == nil {
		return fmt.Errorf("one of %s and %s must be set: the proxy's own traffic has to be told apart", EnvIgnoreUID, EnvIgnoreGID)
	}
	if c.OutboundPort == 0 {
		return fmt.Errorf("%s must be set", EnvOutboundPort)
	}
	if len(c.AppPorts) > 0 && c.InboundPort == 0 {
		return fmt.Errorf("%s must be set when %s lists ports", EnvInboundPort, EnvAppPorts)
	}
	return nil
}

// ParsePorts reads a comma list of TCP ports as users write it in annotations. Blanks around items are allowed, an empty
// text is an empty list; the result is sorted and free of duplicates.
func ParsePorts(text string) ([]uint16, error) {
	var ports []uint16
	for item := range items(text) {
		port, err := parsePort(item)
		if err != nil {
			return nil, err
		}
		ports = append(ports, port)
	}
	slices.Sort(ports)
	return slices.Compact(ports), nil
}

// ParsePrefixes reads a comma list of IP addresses and CIDRs of both families. Host bits are cleared; the result is sorted
// and free of duplicates.
func ParsePrefixes(text string) ([]netip.Prefix, error) {
	var prefixes []netip.Prefix
	for item := range items(text) {
		prefix, err := parsePrefix(item)
		if err != nil {
			return nil, err
		}
		prefixes = append(prefixes, prefix)
	}
	slices.SortFunc(prefixes, comparePrefixes)
	return slices.Compact(prefixes), nil
}

func comparePrefixes(a, b netip.Prefix) int {
	if c := a.Addr().Compare(b.Addr()); c != 0 {
		return c
	}
	return a.Bits() - b.Bits()
}

// items yields the trimmed elements of a comma list; an empty list has none.
func items(text string) func(func(string) bool) {
	return func(yield func(string) bool) {
		if strings.TrimSpace(text) == "" {
			return
		}
		for item := range strings.SplitSeq(text, ",") {
			if !yield(strings.TrimSpace(item)) {
				return
			}
		}
	}
}

func parsePrefix(text string) (netip.Prefix, error) {
	if prefix, err := netip.ParsePrefix(text); err == nil {
		return prefix.Masked(), nil
	}
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("%q is not an IP address or CIDR", text)
	}
	addr = addr.Unmap()
	return netip.PrefixFrom(addr, addr.BitLen()), nil
}

func parsePort(text string) (uint16, error) {
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return 0, fmt.Errorf("%q is not a port (1 to 65535)", text)
	}
	return uint16(port), nil
}

func optionalPort(text string) (uint16, error) {
	if text = strings.TrimSpace(text); text == "" {
		return 0, nil
	}
	return parsePort(text)
}

func parseID(text string) (*uint32, error) {
	if text = strings.TrimSpace(text); text == "" {
		return nil, nil
	}
	id, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("%q is not a numeric user or group id", text)
	}
	n := uint32(id)
	return &n, nil
}
