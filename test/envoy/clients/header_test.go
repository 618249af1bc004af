package clients

import (
	"fmt"
	"testing"
)

// TestALargeResponseHeaderEndsItsOwnRequestOnly has an HTTP/2 application send headers that are larger than Envoy's usual limit of a single
// one. Envoy 1.37 does not know the field that raises it.
func TestALargeResponseHeaderEndsItsOwnRequestOnly(t *testing.T) {
	a := serve(t, 8080, 8081, 8082, 8083)
	for _, version := range []string{"1.40.0", "1.38.3"} {
		t.Run(version, func(t *testing.T) {
			start(t, version, shared)
			for what, address := range map[string]string{
				"sidecar": services + ":8081", "gateway": "127.0.0.1:8088", "http2 gateway": "127.0.0.1:8089", "inbound": back + ":8081",
			} {
				for _, kib := range []int{72, 104, 248} {
					h := a.hold(t, 5, address, "back.demo")
					resp, err := exchange(address, fmt.Sprintf("GET /header?kib=%d HTTP/1.1\r\nHost: back.demo\r\n\r\n", kib))
					if err != nil || resp.StatusCode < 500 {
						t.Errorf("%s: a response header of %d KiB: %v, %+v; want a refusal", what, kib, err, resp)
					}
					h.unharmed(fmt.Sprintf("%s: a response header of %d KiB", what, kib))
				}
			}
		})
	}
}
