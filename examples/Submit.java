// Submit one instance over HTTP with Java's standard library alone, and wait for its end. Usage: java Submit.java BK_HOST_ID

import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.util.Map;
import java.util.UUID;
import java.util.regex.Pattern;

class Submit {
    static final HttpClient HTTP = HttpClient.newHttpClient();
    static final String URL = System.getenv().getOrDefault("BKSI_URL", "http://127.0.0.1:8080");

    /** One call, repeated while the server is busy or away; the answer's JSON. A real caller has a library for it. */
    static String call(String path, String body, Map<String, String> headers) throws Exception {
        var environment = System.getenv();
        var identity = "{\"bk_app_code\": \"%s\", \"bk_app_secret\": \"%s\"}".formatted(
            environment.getOrDefault("BKSI_APP_CODE", ""), environment.getOrDefault("BKSI_APP_SECRET", ""));
        var request = HttpRequest.newBuilder(URI.create(URL + path)).timeout(Duration.ofSeconds(30))
            .header("Content-Type", "application/json").header("X-Bkapi-Authorization", identity);
        headers.forEach(request::header);
        if (body != null) {
            request.POST(BodyPublishers.ofString(body));
        }
        for (int attempt = 0; ; attempt++) {
            HttpResponse<String> answer;
            try {
                answer = HTTP.send(request.build(), BodyHandlers.ofString());
            } catch (IOException away) {
                if (attempt == 5) {
                    throw away;
                }
                Thread.sleep(100L << attempt);
                continue;
            }
            int status = answer.statusCode();
            if ((status == 429 || status == 503) && attempt < 5) {
                Thread.sleep(1000 * answer.headers().firstValueAsLong("Retry-After").orElse(1));
            } else if (status >= 400) {
                throw new IOException("HTTP " + status + ": " + answer.body());
            } else {
                return answer.body();
            }
        }
    }

    static String find(String pattern, String json) {
        var found = Pattern.compile(pattern).matcher(json);
        return found.find() ? found.group(1) : "";
    }

    static String status(String report) {
        return find("\"data\":[^\"]*\"status\":\"([A-Z_]+)\"", report);
    }

    public static void main(String[] arguments) throws Exception {
        int host = Integer.parseInt(arguments[0]);
        var batch = "{\"bk_biz_id\": 1, \"bk_module_id\": 60, \"instances\": [{\"bk_host_id\": %d}]}".formatted(host);
        // One key for all tries: whatever got lost, it is the same request.
        var report = call("/v1/batches", batch, Map.of("Idempotency-Key", UUID.randomUUID().toString()));
        var id = find("\"request_id\":\"([0-9a-f]{32})\"", report);
        while (status(report).equals("PENDING") || status(report).equals("RUNNING")) {
            report = call("/v1/batches/" + id, null, Map.of("Prefer", "wait=20"));
        }
        System.out.println(id + " " + status(report) + " " + find("\"data\":(\\[[0-9,]*])", report));
        System.exit(status(report).equals("SUCCESS") ? 0 : 1);
    }
}
