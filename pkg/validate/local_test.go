package validate_test

import (
	"testing"

	"github.com/aftermesh/aftermesh/pkg/validate"
)

func TestCallersOwn(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"127.0.0.1": true, "127.255.0.9": true, "127.0.0.1.": true, "127.1": true, "127.0.1": true, "2130706433": true, "0x7f000001": true, "0x7F.1": true,
		"0177.0.0.1": true, "017700000001": true, "0": true, "0.0.0.0": true, "0x0": true, "0.0.0.1": true, "255.255.255.255": true,
		"::1": true, "[::1]": true, "::": true, "0:0:0:0:0:0:0:1": true, "::ffff:127.0.0.1": true, "::ffff:7f00:1": true, "::127.0.0.1": true,
		"64:ff9b::7f00:1": true, "2002:7f00:1::": true, "fe80::1": true, "fe80::1%eth0": true, "[fe80::1%25eth0]": true, "ff02::1": true, "224.0.0.1": true,
		"169.254.169.254": true, "169.254.0.1": true, "::ffff:169.254.169.254": true, "0xa9fea9fe": true, "2852039166": true, "169.254.43518": true,
		"fd00:ec2::254": true, "168.63.129.16": true, "100.100.100.200": true,
		"localhost": true, "LOCALHOST": true, "localhost.": true, "a.localhost": true, "localhost.localdomain": true, "x.localhost.localdomain.": true,
		"localhost6": true, "ip6-loopback": true, "metadata.google.internal": true, "metadata.google.internal.": true,

		"10.0.0.1": false, "128.0.0.1": false, "126.255.255.255": false, "1.1": false, "2001:db8::1": false, "::ffff:10.0.0.1": false, "64:ff9b::a00:1": false,
		"fd00::1": false, "256.0.0.1": false, "127.0.0.0.1": false, "08.1.1.1": false, "127.0.0.x": false, "4294967296": false, "": false, ".": false,
		"notlocalhost": false, "localhost.example": false, "localhost.bank.svc.cluster.local": false, "example.com": false, "payments.bank": false, "0x": false, "0b1": false, "1_0": false,
	} {
		if got := validate.CallersOwn(host); got != want {
			t.Errorf("%q: %v, want %v", host, got, want)
		}
	}
}
