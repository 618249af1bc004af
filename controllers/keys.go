package controllers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"k8s.io/client-go/kubernetes"
)

// clusterKeys reads the keys that the API server signs service account tokens with. Who needs a key that is there waits for nothing: keys
// are read in the background, by one reader for all, and not again and again for a key that does not exist.
type clusterKeys struct {
	read func(context.Context) (*signingKeys, error)
	now  func() time.Time

	mu   sync.Mutex
	last *signingKeys
	err  error
	// began is when the last reading began, reading is closed when it has ended.
	began   time.Time
	reading chan struct{}
}

// signingKeys are what one reading brought.
type signingKeys struct {
	set    *jose.JSONWebKeySet
	issuer string
}

const (
	// keysLife is how long keys are used without looking again, so that removed ones stop being trusted.
	keysLife = time.Hour
	// keysPause bounds how often keys are read, whatever for.
	keysPause = 5 * time.Second
	// keysTime bounds a reading.
	keysTime = 5 * time.Second
)

func newClusterKeys(client kubernetes.Interface, now func() time.Time) *clusterKeys {
	return &clusterKeys{now: now, read: func(ctx context.Context) (*signingKeys, error) {
		get := func(path string, into any) error {
			b, err := client.Discovery().RESTClient().Get().AbsPath(path).DoRaw(ctx)
			if err == nil {
				err = json.Unmarshal(b, into)
			}
			if err != nil {
				return fmt.Errorf("read %s: %w", path, err)
			}
			return nil
		}
		var discovery struct {
			Issuer string `json:"issuer"`
		}
		var set jose.JSONWebKeySet
		if err := errors.Join(get("/.well-known/openid-configuration", &discovery), get("/openid/v1/jwks", &set)); err != nil {
			return nil, err
		}
		return &signingKeys{&set, discovery.Issuer}, nil
	}}
}

// Keys implements proxyauth.Keys. With refresh it waits for a reading that began not long ago; without, only while there are no keys.
func (k *clusterKeys) Keys(ctx context.Context, refresh bool) (*jose.JSONWebKeySet, string, error) {
	last, reading := k.look(refresh)
	if reading != nil && (refresh || last == nil) {
		select {
		case <-reading:
		case <-ctx.Done():
			return nil, "", ctx.Err()
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.last == nil {
		return nil, "", k.err
	}
	// Keys that were good are better than none while the API server is away.
	return k.last.set, k.last.issuer, nil
}

// look returns the keys that are there, and the reading under way, which it begins if one is due.
func (k *clusterKeys) look(refresh bool) (last *signingKeys, reading chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	age := k.now().Sub(k.began)
	due := k.last == nil || refresh || k.err != nil || age >= keysLife
	if k.reading == nil && due && (k.began.IsZero() || age >= keysPause) {
		k.began, k.reading = k.now(), make(chan struct{})
		go k.renew(k.reading)
	}
	return k.last, k.reading
}

// renew reads the keys, on behalf of nobody in particular.
func (k *clusterKeys) renew(done chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), keysTime)
	defer cancel()
	got, err := k.read(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err = err; err == nil {
		k.last = got
	}
	k.reading = nil
	close(done)
}
