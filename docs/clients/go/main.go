// A client of Rodent's socket in Go: emits, queries, follows and consumes events. build.sh builds it with what the
// distribution has.
//
//	rodent-client emit tank
//	rodent-client query storage.pool
//	rodent-client tail 'level>=warn'
//	rodent-client consume backup
//	rodent-client work backup 4
//
// RODENT_SOCKET names the socket, /run/rodent/rodent.sock by default.
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/golang/protobuf/proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	events "rodent/events"
	local "rodent/local"
)

const (
	// Commits go so often: each costs the agent a little, and what is not committed comes again.
	commitEvery = 1000
	pauseMin    = 200 * time.Millisecond
	pauseMax    = 10 * time.Second
)

var (
	out      = bufio.NewWriter(os.Stdout)
	printing sync.Mutex
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "rodent-client emit POOL | query CONDITION… | tail CONDITION… | consume NAME [CONDITION…] | work NAME WORKERS [CONDITION…]")
		os.Exit(64)
	}
	path := os.Getenv("RODENT_SOCKET")
	if path == "" {
		path = "/run/rodent/rodent.sock"
	}
	dial := func(context.Context, string) (net.Conn, error) { return net.Dial("unix", path) }
	connection, err := grpc.Dial("localhost", grpc.WithInsecure(), grpc.WithContextDialer(dial))
	if err != nil {
		fail(err)
	}
	defer connection.Close()
	agent := local.NewLocalServiceClient(connection)
	arguments := os.Args[2:]
	switch os.Args[1] {
	case "emit":
		err = emit(agent, arguments[0])
	case "query":
		err = query(agent, arguments)
	case "tail":
		err = tail(agent, arguments)
	case "consume":
		err = consume(agent, &local.Attach{Consumer: arguments[0], Filter: arguments[1:]})
	case "work":
		err = work(agent, arguments)
	}
	out.Flush()
	if err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, status.Convert(err).Message())
	os.Exit(1)
}

func emit(agent local.LocalServiceClient, name string) error {
	pool := &events.StoragePoolPayload{
		PoolName:  name,
		Operation: events.StoragePoolPayload_STORAGE_POOL_OPERATION_CREATED,
	}
	encoded, err := proto.Marshal(&events.Event{
		Level: events.EventLevel_EVENT_LEVEL_INFO,
		EventPayload: &events.Event_StorageEvent{StorageEvent: &events.StorageEvent{
			EventType: &events.StorageEvent_PoolEvent{PoolEvent: pool},
		}},
	})
	if err != nil {
		return err
	}
	answer, err := agent.Emit(context.Background(), &local.EmitRequest{Events: [][]byte{encoded}})
	if err != nil {
		return err
	}
	fmt.Fprintln(out, answer.EventIds[0])
	return nil
}

type pages interface {
	Recv() (*local.QueryResponse, error)
}

func query(agent local.LocalServiceClient, filter []string) error {
	answer, err := agent.Query(context.Background(), &local.QueryRequest{Filter: filter, Limit: 100})
	return showPages(answer, err)
}

func tail(agent local.LocalServiceClient, filter []string) error {
	answer, err := agent.Tail(context.Background(), &local.TailRequest{Filter: filter, Backlog: 10})
	return showPages(answer, err)
}

func showPages(answer pages, err error) error {
	for err == nil {
		var page *local.QueryResponse
		if page, err = answer.Recv(); err != nil {
			break
		}
		for _, stored := range page.Events {
			if err = show(stored.Lane, stored.Sequence, stored.Event); err != nil {
				return err
			}
		}
		out.Flush()
	}
	if err == io.EOF {
		return nil
	}
	return err
}

func show(lane string, sequence uint64, encoded []byte) error {
	event := &events.Event{}
	if err := proto.Unmarshal(encoded, event); err != nil {
		return err
	}
	fmt.Fprintln(out, lane, sequence, event.EventId)
	return nil
}

// work is consume with so many goroutines: all about one subject is one's, in order.
func work(agent local.LocalServiceClient, arguments []string) error {
	if len(arguments) < 2 {
		return fmt.Errorf("work NAME WORKERS [CONDITION…]")
	}
	workers, err := strconv.ParseUint(arguments[1], 10, 32)
	if err != nil {
		return err
	}
	return consume(agent, &local.Attach{Consumer: arguments[0], Workers: uint32(workers), Filter: arguments[2:]})
}

// consume goes on until it is stopped, also when the agent was away.
func consume(agent local.LocalServiceClient, attach *local.Attach) error {
	pause := pauseMin
	for {
		came, err := attached(agent, attach)
		// Unavailable: the agent is stopping, restarting, or not there. Whatever else it says does not pass by waiting.
		if code := status.Code(err); code != codes.Unavailable && code != codes.Canceled && err != io.EOF {
			return err
		}
		if came {
			pause = pauseMin
		}
		time.Sleep(pause)
		if pause *= 2; pause > pauseMax {
			pause = pauseMax
		}
	}
}

// attached is one call: what comes goes to the worker whose it is.
func attached(agent local.LocalServiceClient, attach *local.Attach) (came bool, err error) {
	call, cancel := context.WithCancel(context.Background())
	defer cancel()
	stream, err := agent.Consume(call)
	if err != nil {
		return false, err
	}
	request := &local.ConsumeRequest{Request: &local.ConsumeRequest_Attach{Attach: attach}}
	if err = stream.Send(request); err != nil && err != io.EOF {
		return false, err
	}
	var sending sync.Mutex
	commit := func(commit *local.Commit) {
		sending.Lock()
		defer sending.Unlock()
		// What is wrong with it is what Recv says.
		_ = stream.Send(&local.ConsumeRequest{Request: &local.ConsumeRequest_Commit{Commit: commit}})
	}
	inboxes := make([]chan *local.ConsumedRun, attach.Workers+1)
	var dealing sync.WaitGroup
	for i := range inboxes {
		inbox := make(chan *local.ConsumedRun, 4)
		inboxes[i] = inbox
		dealing.Add(1)
		go func() {
			defer dealing.Done()
			deal(inbox, commit)
		}()
	}
	defer func() {
		for _, inbox := range inboxes {
			close(inbox)
		}
		dealing.Wait()
	}()
	for {
		response, err := stream.Recv()
		if err != nil {
			return came, err
		}
		came = true
		if gap := response.GetGap(); gap != nil {
			fmt.Fprintln(os.Stderr, gap.Count, "events are lost:", gap.Lane, gap.FirstSequence, "to", gap.LastSequence)
		}
		if run := response.GetRun(); run != nil {
			inboxes[run.Worker] <- run
		}
	}
}

// deal is a worker: deals with its runs and commits what it has dealt with.
func deal(inbox <-chan *local.ConsumedRun, commit func(*local.Commit)) {
	sinceCommit := map[string]int{}
	for run := range inbox {
		if err := showRun(run); err != nil {
			// What is not out of our hands is not committed; it comes again.
			fail(err)
		}
		sinceCommit[run.Lane] += len(run.Events)
		if len(run.Events) < commitEvery || sinceCommit[run.Lane] >= commitEvery {
			commit(&local.Commit{Lane: run.Lane, Sequence: run.Sequences[len(run.Sequences)-1], Worker: run.Worker})
			sinceCommit[run.Lane] = 0
		}
	}
}

func showRun(run *local.ConsumedRun) error {
	printing.Lock()
	defer printing.Unlock()
	for i, encoded := range run.Events {
		if err := show(run.Lane, run.Sequences[i], encoded); err != nil {
			return err
		}
	}
	return out.Flush()
}
