package controllers

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	jose "github.com/go-jose/go-jose/v4"
)

// away is an API server that answers after a while, or not at all.
type away struct {
	mu    sync.Mutex
	count int
	delay time.Duration
	err   error
}

func (a *away) read(ctx context.Context) (*signingKeys, error) {
	a.mu.Lock()
	a.count++
	delay, err := a.delay, a.err
	a.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	return &signingKeys{&jose.JSONWebKeySet{}, "issuer"}, nil
}

func (a *away) set(delay time.Duration, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.delay, a.err = delay, err
}

// TestTheSearchForAnUnknownKeyKeepsNobodyElseWaiting: the API server has gone; tokens with made-up keys make the keys be looked for, and
// who needs those that are there has them at once.
func TestTheSearchForAnUnknownKeyKeepsNobodyElseWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &away{}
		k := &clusterKeys{read: server.read, now: time.Now}
		if _, issuer, err := k.Keys(t.Context(), false); err != nil || issuer != "issuer" {
			t.Fatalf("%q, %v", issuer, err)
		}
		time.Sleep(keysPause)
		server.set(time.Hour, nil)
		var strangers sync.WaitGroup
		for range 100 {
			strangers.Go(func() { _, _, _ = k.Keys(t.Context(), true) })
		}
		synctest.Wait()
		begin := time.Now()
		if _, _, err := k.Keys(t.Context(), false); err != nil || time.Since(begin) > 0 {
			t.Errorf("waited %v (%v) for keys that are there", time.Since(begin), err)
		}
		strangers.Wait()
		if d := time.Since(begin); d > keysTime {
			t.Errorf("the search took %v", d)
		}
		if server.count != 2 {
			t.Errorf("the API server was asked %d times, want once at first and once for all unknown keys", server.count)
		}
	})
}

func TestAKeyThatDoesNotExistIsNotLookedForAgainAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &away{}
		k := &clusterKeys{read: server.read, now: time.Now}
		for range 1000 {
			_, _, _ = k.Keys(t.Context(), true)
			time.Sleep(time.Millisecond)
		}
		if server.count != 1 {
			t.Errorf("asked %d times within a second", server.count)
		}
		time.Sleep(keysPause)
		_, _, _ = k.Keys(t.Context(), true)
		if server.count != 2 {
			t.Errorf("a key that is new is never found: asked %d times", server.count)
		}
	})
}

func TestKeysAreReadAgainAndSurviveAnAbsence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &away{err: errors.New("not yet")}
		k := &clusterKeys{read: server.read, now: time.Now}
		if _, _, err := k.Keys(t.Context(), false); err == nil {
			t.Fatal("keys without a server")
		}
		server.set(0, nil)
		time.Sleep(keysPause)
		if _, _, err := k.Keys(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		server.set(0, errors.New("away"))
		time.Sleep(keysLife)
		before := server.count
		if _, _, err := k.Keys(t.Context(), false); err != nil {
			t.Errorf("keys that were good are lost: %v", err)
		}
		synctest.Wait()
		if server.count != before+1 {
			t.Error("old keys are not read again")
		}
	})
}
