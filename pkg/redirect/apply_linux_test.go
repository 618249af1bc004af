package redirect

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTheKernelsRefusalIsPutIntoWords(t *testing.T) {
	cases := []struct {
		cause error
		words string
	}{
		{unix.EPERM, "needs user 0 and the capability NET_ADMIN"},
		{unix.EOPNOTSUPP, "has no nftables (module nf_tables)"},
		{unix.EPROTONOSUPPORT, "iptables is not used instead"},
		{unix.ENOENT, "lacks a part of nftables"},
		{unix.EINVAL, "program nftables"},
	}
	for _, c := range cases {
		err := explain(fmt.Errorf("conn.Receive: %w", c.cause))
		if !strings.Contains(err.Error(), c.words) || !errors.Is(err, c.cause) {
			t.Errorf("%v: %q, want %q with the cause inside", c.cause, err, c.words)
		}
	}
}
