// Submit one instance over HTTP with Go's standard library alone, and wait for its end. Usage: go run main.go BK_HOST_ID
package main

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"
)

type report struct {
	RequestID string  `json:"request_id"`
	Status    string  `json:"status"`
	Code      int     `json:"code"`
	Message   string  `json:"message"`
	Data      []int64 `json:"data"`
}

var client = &http.Client{Timeout: 30 * time.Second}

// call makes one call, and makes it again while the server is busy or away.
func call(method, path string, body []byte, headers map[string]string) (*report, error) {
	url := os.Getenv("BKSI_URL")
	if url == "" {
		url = "http://127.0.0.1:8080"
	}
	identity, _ := json.Marshal(map[string]string{
		"bk_app_code": os.Getenv("BKSI_APP_CODE"), "bk_app_secret": os.Getenv("BKSI_APP_SECRET"),
	})
	for attempt := 0; ; attempt++ {
		request, err := http.NewRequest(method, url+path, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("X-Bkapi-Authorization", string(identity))
		for name, value := range headers {
			request.Header.Set(name, value)
		}
		answer, err := client.Do(request)
		if err != nil {
			if attempt == 5 {
				return nil, err
			}
			time.Sleep(100 * time.Millisecond << attempt)
			continue
		}
		said := new(report)
		err = json.NewDecoder(answer.Body).Decode(said)
		answer.Body.Close()
		if (answer.StatusCode == 429 || answer.StatusCode == 503) && attempt < 5 {
			seconds, _ := strconv.Atoi(answer.Header.Get("Retry-After"))
			if seconds < 1 {
				seconds = 1
			}
			time.Sleep(time.Duration(seconds) * time.Second)
			continue
		}
		if err == nil && answer.StatusCode >= 400 {
			err = fmt.Errorf("HTTP %d: %d %s", answer.StatusCode, said.Code, said.Message)
		}
		return said, err
	}
}

func run() error {
	host, err := strconv.Atoi(os.Args[1])
	if err != nil {
		return err
	}
	batch, _ := json.Marshal(map[string]any{
		"bk_biz_id": 1, "bk_module_id": 60, "instances": []map[string]any{{"bk_host_id": host}},
	})
	// One key for all tries: whatever got lost, it is the same request.
	key := make([]byte, 16)
	if _, err := rand.Read(key); err != nil {
		return err
	}
	said, err := call("POST", "/v1/batches", batch, map[string]string{"Idempotency-Key": hex.EncodeToString(key)})
	for err == nil && (said.Status == "PENDING" || said.Status == "RUNNING") {
		said, err = call("GET", "/v1/batches/"+said.RequestID, nil, map[string]string{"Prefer": "wait=20"})
	}
	if err != nil {
		return err
	}
	fmt.Println(said.RequestID, said.Status, said.Data)
	if said.Status != "SUCCESS" {
		return fmt.Errorf("%d %s", said.Code, said.Message)
	}
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
