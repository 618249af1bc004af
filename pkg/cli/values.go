package cli

import (
	"crypto/tls"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// port is the value of a flag that names a port.
type port uint16

// portVar declares such a flag; its default is what p holds.
func portVar(f *pflag.FlagSet, p *uint16, name, usage string) { f.Var((*port)(p), name, usage) }

// Set implements pflag.Value.
func (p *port) Set(s string) error {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return fmt.Errorf("%s is not a port", s)
	}
	*p = port(n)
	return nil
}

// String implements pflag.Value.
func (p *port) String() string { return strconv.Itoa(int(*p)) }

// Type implements pflag.Value.
func (p *port) Type() string { return "port" }

// seconds is the value of a flag that is a number of seconds.
type seconds time.Duration

// Set implements pflag.Value.
func (d *seconds) Set(s string) error {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil {
		return fmt.Errorf("%s is not a number of seconds", s)
	}
	*d = seconds(time.Duration(n) * time.Second)
	return nil
}

// String implements pflag.Value.
func (d *seconds) String() string { return strconv.Itoa(int(time.Duration(*d).Seconds())) }

// Type implements pflag.Value.
func (d *seconds) Type() string { return "seconds" }

// account is the value of a flag that is an AWS account number. Helm makes a floating-point number of one that was not quoted.
type account string

var floatAccount = regexp.MustCompile(`^[0-9.]+e\+[0-9]+$`)

// Set implements pflag.Value.
func (a *account) Set(s string) error {
	if n, err := strconv.ParseFloat(s, 64); err == nil && floatAccount.MatchString(s) {
		s = fmt.Sprintf("%012.0f", n)
	}
	*a = account(s)
	return nil
}

// String implements pflag.Value.
func (a *account) String() string { return string(*a) }

// Type implements pflag.Value.
func (a *account) Type() string { return "string" }

// tlsVersion is the value of a flag that names a TLS version as Go does.
type tlsVersion uint16

var tlsVersions = map[string]tlsVersion{"VersionTLS12": tls.VersionTLS12, "VersionTLS13": tls.VersionTLS13}

// Set implements pflag.Value.
func (v *tlsVersion) Set(s string) error {
	version, ok := tlsVersions[s]
	if !ok && s != "" {
		return fmt.Errorf("%q is neither VersionTLS12 nor VersionTLS13", s)
	}
	if ok {
		*v = version
	}
	return nil
}

// String implements pflag.Value.
func (v *tlsVersion) String() string {
	for name, version := range tlsVersions {
		if version == *v {
			return name
		}
	}
	return ""
}

// Type implements pflag.Value.
func (v *tlsVersion) Type() string { return "version" }

// cipherSuites is the value of a flag that lists cipher suites by Go's names.
type cipherSuites []uint16

// Set implements pflag.Value.
func (c *cipherSuites) Set(s string) error {
	*c = nil
	for name := range strings.SplitSeq(s, ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		i := slices.IndexFunc(tls.CipherSuites(), func(s *tls.CipherSuite) bool { return s.Name == name })
		if i < 0 {
			return fmt.Errorf("%q is not a cipher suite that Go offers", name)
		}
		*c = append(*c, tls.CipherSuites()[i].ID)
	}
	return nil
}

// String implements pflag.Value.
func (c *cipherSuites) String() string {
	names := make([]string, len(*c))
	for i, id := range *c {
		names[i] = tls.CipherSuiteName(id)
	}
	return strings.Join(names, ",")
}

// Type implements pflag.Value.
func (c *cipherSuites) Type() string { return "suites" }
