package xds

import (
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestAProxyWhoseGroupIsGoneKeepsWhatItHasFor15Minutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, Options{MaxAge: 24 * time.Hour})
		defer l.stopped()
		l.publish(basic()...)
		c := l.connect("pod")
		defer c.close()
		whole(c)
		delete(l.groups, "pod")
		l.republish()
		c.silence()
		time.Sleep(10 * time.Minute)
		l.republish() // other changes do not restart the time
		c.silence()
		begin := time.Now()
		if m, ok := <-c.got; ok || status.Code(c.err) != codes.InvalidArgument {
			t.Errorf("got %v, ended with %v, want InvalidArgument", m, c.err)
		}
		if d := time.Since(begin); d != 5*time.Minute {
			t.Errorf("%v after 10 minutes, want 5m", d)
		}
	})
}

func TestAGroupThatComesBackGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, Options{MaxAge: 24 * time.Hour})
		defer l.stopped()
		l.publish(basic()...)
		c := l.connect("pod")
		defer c.close()
		whole(c)
		delete(l.groups, "pod")
		l.republish()
		time.Sleep(14 * time.Minute)
		l.groups["pod"] = "group"
		l.republish()
		time.Sleep(time.Hour)
		c.silence()
	})
}
