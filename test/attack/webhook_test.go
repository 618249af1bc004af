package attack

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

const podPath = "/mutate-v1-pod"

// review is what an API server sends about the creation of a pod.
func review(namespace, pod string) string {
	return fmt.Sprintf(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"1","operation":"CREATE","namespace":%q,`+
		`"kind":{"group":"","version":"v1","kind":"Pod"},"resource":{"group":"","version":"v1","resource":"pods"},"object":%s}}`, namespace, pod)
}

// crowded is a pod of so many containers, each of them some text.
func crowded(container string, n int) string {
	return `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","labels":{"app":"node"}},"spec":{"containers":[` +
		strings.TrimSuffix(strings.Repeat(container+",", n), ",") + `]}}`
}

// reviews sends a review again and again; allowed says which answers are right, 0 for none.
func reviews(ctx context.Context, x *target, clients int, body string, right ...int) {
	crowd(ctx, clients, func(ctx context.Context, i int) {
		client := browser(from(i))
		defer client.CloseIdleConnections()
		for ctx.Err() == nil {
			code, text := post(ctx, client, "https://"+x.Webhook+podPath, strings.NewReader(body), int64(len(body)))
			if !slices.Contains(append(right, 0), code) {
				x.complain("answer %d: %.200s", code, text)
			}
			if code == 0 {
				return
			}
		}
	})
}

// atWebhooks are attacks at the ports of HTTP, which ask for no credential.
var atWebhooks = map[string]func(context.Context, *target){
	"reviews of empty containers": func(ctx context.Context, x *target) {
		reviews(ctx, x, 32, review("evil", crowded("{}", 900_000)), http.StatusRequestEntityTooLarge, http.StatusTooManyRequests)
	},
	"reviews of containers that are null": func(ctx context.Context, x *target) {
		reviews(ctx, x, 32, review("evil", crowded("null", 500_000)), http.StatusRequestEntityTooLarge, http.StatusTooManyRequests)
	},
	"reviews that are too large": func(ctx context.Context, x *target) {
		reviews(ctx, x, 32, review("evil", `"`+strings.Repeat("a", 6<<20)+`"`), http.StatusRequestEntityTooLarge, http.StatusTooManyRequests)
	},
	"reviews at the bounds": func(ctx context.Context, x *target) {
		reviews(ctx, x, 32, review("evil", crowded(`{"name":"a","image":"a"}`, 9_000)), http.StatusOK, http.StatusTooManyRequests)
	},
	"reviews of unknown pods": func(ctx context.Context, x *target) {
		reviews(ctx, x, 64, review("bench", crowded(`{"name":"a","image":"a"}`, 1)), http.StatusOK, http.StatusTooManyRequests)
	},
	"reviews that never end": func(ctx context.Context, x *target) {
		crowd(ctx, 400, func(ctx context.Context, i int) {
			client := browser(from(i))
			defer client.CloseIdleConnections()
			body := &slow{ctx: ctx, text: bytes.NewReader(make([]byte, 2<<20))}
			_, _ = post(ctx, client, "https://"+x.Webhook+podPath, body, -1)
		})
	},
	"headers at every port of HTTP": func(ctx context.Context, x *target) {
		header := "GET /metrics HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 900<<10)
		crowd(ctx, 300, func(ctx context.Context, i int) {
			var c io.ReadWriteCloser
			switch i % 3 {
			case 0:
				if s := secure(ctx, from(i), x.Webhook, "http/1.1"); s != nil {
					c = s
				}
			default:
				raw, err := dialer(from(i)).DialContext(ctx, "tcp", []string{x.Metrics, x.Health}[i%2])
				if err == nil {
					c = raw
				}
			}
			if c == nil {
				return
			}
			defer until(ctx, c)()
			_, _ = io.WriteString(c, header)
			_, _ = c.Read(make([]byte, 1))
		})
	},
	"scrapes": func(ctx context.Context, x *target) {
		crowd(ctx, 64, func(ctx context.Context, i int) {
			client := browser(from(i))
			defer client.CloseIdleConnections()
			for range 100 {
				r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+x.Metrics+"/metrics", nil)
				if err != nil {
					return
				}
				resp, err := client.Do(r)
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
		})
	},
}

// slow is a body of which the last byte never comes.
type slow struct {
	ctx  context.Context
	text *bytes.Reader
}

func (s *slow) Read(b []byte) (int, error) {
	if s.text.Len() == 0 {
		<-s.ctx.Done()
		return 0, s.ctx.Err()
	}
	return s.text.Read(b)
}

// TestStrangersAtTheWebhooks: anybody can send reviews, and takes nothing from others thereby.
func TestStrangersAtTheWebhooks(t *testing.T) {
	w := start(t)
	w.must(t, w.Evil, node)
	for _, name := range slices.Sorted(maps.Keys(atWebhooks)) {
		t.Run(name, func(t *testing.T) { w.under(t, name) })
	}
	for _, n := range []int{1_500, 48_000} {
		t.Run(fmt.Sprintf("a tenant's pod of %d empty containers", n), func(t *testing.T) {
			// The API server itself takes its time to judge such a pod, where no webhook of ours looks at it too.
			alone := w.post(t, "default", crowded("{}", n))
			stop := w.watch(t.Context())
			took, r := w.post(t, evil, crowded("{}", n)), stop()
			t.Logf("%v, without the webhook %v; %v", took, alone, r)
			const most = 3 * time.Second
			if took > alone+most {
				t.Errorf("the webhook took %v", took-alone)
			}
			if r.Dead || r.Err != nil || r.Resident > residentBar {
				t.Errorf("meanwhile: %v (dead: %t, %v)", r, r.Dead, r.Err)
			}
		})
	}
}

// post tries to create a pod that is not valid and returns how long the refusal took.
func (w *World) post(t *testing.T, namespace, body string) time.Duration {
	t.Helper()
	begin := time.Now()
	err := w.Kube.CoreV1().RESTClient().Post().Namespace(namespace).Resource("pods").SetHeader("Content-Type", "application/json").
		Body([]byte(body)).Do(t.Context()).Error()
	if err == nil {
		t.Error("a pod of empty containers was taken")
	}
	return time.Since(begin).Round(time.Millisecond)
}
