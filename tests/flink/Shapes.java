import java.io.Serializable;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import org.apache.flink.cep.nfa.aftermatch.AfterMatchSkipStrategy;
import org.apache.flink.cep.pattern.Pattern;
import org.apache.flink.cep.pattern.conditions.IterativeCondition;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;

/**
 * Patterns as JSON, and what Flink makes of them.
 *
 * <p>A pattern is {@code {"elements": [element], "within_ms", "after_match"}}. An element has a {@code "name"},
 * {@code "types"} (its rows are of one of them) and perhaps a condition {@code "where"}; or it is a
 * {@code "group"} of elements. It also has {@code "join"} (to the element before it), and may have {@code "min"} and
 * {@code "max"} (null: any number), {@code "loop"}, {@code "greedy"} and {@code "until"}, the types and condition of
 * rows that end the loop. Names are those of Flink's methods.
 *
 * <p>A condition is {@code [comparison, term, term]} or {@code ["and" | "or", condition, condition]}. A term is a number;
 * {@code ["value"]}, of the current row; {@code ["count" | "sum" | "min" | "max" | "last" | "latest", step]} over what a step has
 * taken so far; or {@code ["+" | "-", term, term]}. A value over no rows is not a number, so that no comparison with
 * it holds. Conditions hold on to the rows; all is serializable because Flink insists, and nothing is serialized.
 */
final class Shapes implements Serializable {
    private static final long serialVersionUID = 1;

    private final ArrayList<Cases.Row> rows;

    private Shapes(ArrayList<Cases.Row> rows) {
        this.rows = rows;
    }

    static Pattern<Integer, Integer> build(JsonNode shape, ArrayList<Cases.Row> rows) {
        String rule = shape.path("after_match").asText("noSkip");
        AfterMatchSkipStrategy skip =
                switch (rule) {
                    case "noSkip" -> AfterMatchSkipStrategy.noSkip();
                    case "skipToNext" -> AfterMatchSkipStrategy.skipToNext();
                    case "skipPastLastEvent" -> AfterMatchSkipStrategy.skipPastLastEvent();
                    default -> throw new IllegalArgumentException("after_match " + rule);
                };
        Pattern<Integer, Integer> pattern = new Shapes(rows).sequence(shape.get("elements"), skip);
        JsonNode within = shape.path("within_ms");
        return within.isNumber() ? pattern.within(Duration.ofMillis(within.asLong())) : pattern;
    }

    private Pattern<Integer, Integer> sequence(JsonNode elements, AfterMatchSkipStrategy skip) {
        Pattern<Integer, Integer> pattern = null;
        for (JsonNode element : elements) {
            if (element.has("group")) {
                pattern = group(pattern, element, sequence(element.get("group"), skip), skip);
            } else {
                pattern = step(pattern, element, skip).where(condition(element));
            }
            pattern = quantified(pattern, element);
        }
        return pattern;
    }

    private static Pattern<Integer, Integer> step(
            Pattern<Integer, Integer> before, JsonNode element, AfterMatchSkipStrategy skip) {
        String name = element.get("name").asText();
        if (before == null) {
            return Pattern.begin(name, skip);
        }
        return switch (element.get("join").asText()) {
            case "next" -> before.next(name);
            case "followedBy" -> before.followedBy(name);
            case "followedByAny" -> before.followedByAny(name);
            case "notNext" -> before.notNext(name);
            case "notFollowedBy" -> before.notFollowedBy(name);
            default -> throw new IllegalArgumentException("join " + element.get("join"));
        };
    }

    private static Pattern<Integer, Integer> group(
            Pattern<Integer, Integer> before,
            JsonNode element,
            Pattern<Integer, Integer> inner,
            AfterMatchSkipStrategy skip) {
        if (before == null) {
            return Pattern.begin(inner, skip);
        }
        return switch (element.get("join").asText()) {
            case "next" -> before.next(inner);
            case "followedBy" -> before.followedBy(inner);
            case "followedByAny" -> before.followedByAny(inner);
            default -> throw new IllegalArgumentException("join " + element.get("join"));
        };
    }

    /** Flink has no loop of none or more: it is an optional one of one or more. */
    private Pattern<Integer, Integer> quantified(Pattern<Integer, Integer> pattern, JsonNode element) {
        int min = element.path("min").asInt(1);
        boolean unbounded = element.has("max") && element.get("max").isNull();
        int max = unbounded ? Integer.MAX_VALUE : element.path("max").asInt(1);
        if (max > 1) {
            int least = Math.max(min, 1);
            pattern = !unbounded ? pattern.times(least, max) : least == 1 ? pattern.oneOrMore() : pattern.timesOrMore(least);
            pattern =
                    switch (element.path("loop").asText("relaxed")) {
                        case "relaxed" -> pattern;
                        case "consecutive" -> pattern.consecutive();
                        case "allowCombinations" -> pattern.allowCombinations();
                        default -> throw new IllegalArgumentException("loop " + element.get("loop"));
                    };
        }
        pattern = element.has("until") ? pattern.until(condition(element.get("until"))) : pattern;
        pattern = min == 0 ? pattern.optional() : pattern;
        return element.path("greedy").asBoolean() ? pattern.greedy() : pattern;
    }

    private IterativeCondition<Integer> condition(JsonNode element) {
        HashSet<String> types = new HashSet<>();
        element.get("types").forEach(type -> types.add(type.asText()));
        JsonNode where = element.path("where");
        return new IterativeCondition<>() {
            private static final long serialVersionUID = 1;

            @Override
            public boolean filter(Integer index, Context<Integer> captures) throws Exception {
                return types.contains(rows.get(index).type()) && (!where.isArray() || holds(where, index, captures));
            }
        };
    }

    private boolean holds(JsonNode node, int index, IterativeCondition.Context<Integer> captures) throws Exception {
        String operator = node.get(0).asText();
        switch (operator) {
            case "and":
                return holds(node.get(1), index, captures) && holds(node.get(2), index, captures);
            case "or":
                return holds(node.get(1), index, captures) || holds(node.get(2), index, captures);
            default:
        }
        double left = term(node.get(1), index, captures);
        double right = term(node.get(2), index, captures);
        return switch (operator) {
            case "<" -> left < right;
            case "<=" -> left <= right;
            case ">" -> left > right;
            case ">=" -> left >= right;
            case "==" -> left == right;
            default -> throw new IllegalArgumentException("operator " + operator);
        };
    }

    private double term(JsonNode node, int index, IterativeCondition.Context<Integer> captures) throws Exception {
        if (node.isNumber()) {
            return node.asDouble();
        }
        String name = node.get(0).asText();
        return switch (name) {
            case "value" -> rows.get(index).value();
            case "+" -> term(node.get(1), index, captures) + term(node.get(2), index, captures);
            case "-" -> term(node.get(1), index, captures) - term(node.get(2), index, captures);
            default -> aggregate(name, taken(node.get(1).asText(), captures));
        };
    }

    private List<Double> taken(String step, IterativeCondition.Context<Integer> captures) throws Exception {
        List<Double> values = new ArrayList<>();
        captures.getEventsForPattern(step).forEach(index -> values.add(rows.get(index).value()));
        return values;
    }

    private static double aggregate(String name, List<Double> values) {
        if (name.equals("count")) {
            return values.size();
        }
        if (values.isEmpty()) {
            return Double.NaN;
        }
        return switch (name) {
            case "sum" -> values.stream().mapToDouble(v -> v).sum();
            case "min" -> values.stream().mapToDouble(v -> v).min().getAsDouble();
            case "max" -> values.stream().mapToDouble(v -> v).max().getAsDouble();
            case "last", "latest" -> values.get(values.size() - 1);
            default -> throw new IllegalArgumentException("aggregate " + name);
        };
    }
}
