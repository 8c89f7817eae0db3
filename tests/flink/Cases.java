import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.Serializable;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.ArrayNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.ObjectNode;

/**
 * Runs patterns in FlinkCEP: a case per line of standard input, its matches on a line of standard output.
 *
 * <p>A case is {@code {"name", "events": [{"key", "type", "time", "value"}], "patterns": [pattern]}}, with times
 * in milliseconds, not falling; a row is named by its index. {@link Shapes} says what a pattern is. A result is
 * {@code {"name", "results": [{"matches", "timeouts"} | {"refused": why}]}}; a match is
 * {@code {"at": the index of the row that completed it or null, "steps": {name: [indexes]}}}.
 *
 * <p>Rows are grouped by key here, as {@code keyBy} does it; {@link Run} has the rows of one key. Nothing in this
 * program knows what the matches ought to be.
 */
public final class Cases {
    private static final ObjectMapper JSON = new ObjectMapper();

    /** A row of a case. */
    record Row(String key, String type, long timeMs, double value) implements Serializable {}

    private Cases() {}

    public static void main(String[] args) throws IOException {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            System.out.println(JSON.writeValueAsString(result(JSON.readTree(line))));
        }
    }

    private static ObjectNode result(JsonNode input) {
        ArrayList<Row> rows = new ArrayList<>();
        for (JsonNode event : input.get("events")) {
            String key = event.path("key").asText("");
            double value = event.path("value").asDouble();
            rows.add(new Row(key, event.get("type").asText(), event.get("time").asLong(), value));
        }
        ObjectNode output = JSON.createObjectNode();
        output.set("name", input.get("name"));
        ArrayNode results = output.putArray("results");
        for (JsonNode pattern : input.get("patterns")) {
            results.add(matches(rows, pattern));
        }
        return output;
    }

    /** What Flink refuses, by an exception when the pattern is built or compiled, is an answer too. */
    private static ObjectNode matches(ArrayList<Row> rows, JsonNode pattern) {
        ObjectNode found = JSON.createObjectNode();
        try {
            ArrayNode matches = found.putArray("matches");
            ArrayNode timeouts = found.putArray("timeouts");
            for (List<Integer> ofKey : byKey(rows).values()) {
                Run run = new Run(Shapes.build(pattern, rows), rows);
                run.all(ofKey);
                run.matches.forEach(match -> matches.add(written(match)));
                run.timeouts.forEach(match -> timeouts.add(written(match)));
            }
            return found;
        } catch (Exception refusal) {
            return JSON.createObjectNode().put("refused", String.valueOf(refusal.getMessage()));
        }
    }

    private static Map<String, List<Integer>> byKey(List<Row> rows) {
        Map<String, List<Integer>> groups = new LinkedHashMap<>();
        for (int i = 0; i < rows.size(); i++) {
            groups.computeIfAbsent(rows.get(i).key(), key -> new ArrayList<>()).add(i);
        }
        return groups;
    }

    private static ObjectNode written(Run.Match match) {
        ObjectNode node = JSON.createObjectNode().put("at", match.at());
        ObjectNode steps = node.putObject("steps");
        match.steps().forEach((step, indexes) -> indexes.forEach(steps.withArray(step)::add));
        return node;
    }
}
