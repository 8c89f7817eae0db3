import java.lang.reflect.Proxy;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import org.apache.flink.api.common.state.KeyedStateStore;
import org.apache.flink.api.common.state.MapState;
import org.apache.flink.api.common.typeutils.base.IntSerializer;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.cep.configuration.SharedBufferCacheConfig;
import org.apache.flink.cep.nfa.NFA;
import org.apache.flink.cep.nfa.NFAState;
import org.apache.flink.cep.nfa.aftermatch.AfterMatchSkipStrategy;
import org.apache.flink.cep.nfa.compiler.NFACompiler;
import org.apache.flink.cep.nfa.sharedbuffer.SharedBuffer;
import org.apache.flink.cep.nfa.sharedbuffer.SharedBufferAccessor;
import org.apache.flink.cep.pattern.Pattern;

/**
 * One pattern over the rows of one key, in Flink's own automaton.
 *
 * <p>What Flink's operator does with a watermark is done here without one, because a cluster takes a second to
 * start and this takes none: before a row, time moves to it; after the last, to the end of time. Elements of the
 * automaton are indexes of rows, so that nothing needs a serializer. The shared buffer keeps its state in plain maps.
 */
final class Run {
    /** A match, or a partial one that timed out; {@code at} is null where time completed it. */
    record Match(Integer at, Map<String, List<Integer>> steps) {}

    final List<Match> matches = new ArrayList<>();
    final List<Match> timeouts = new ArrayList<>();

    private final List<Cases.Row> rows;
    private final NFA<Integer> nfa;
    private final NFAState state;
    private final AfterMatchSkipStrategy skip;
    private final SharedBuffer<Integer> buffer;

    Run(Pattern<Integer, ?> pattern, List<Cases.Row> rows) {
        this.rows = rows;
        nfa = NFACompiler.compileFactory(pattern, true).createNFA();
        state = nfa.createInitialNFAState();
        skip = pattern.getAfterMatchSkipStrategy();
        buffer = new SharedBuffer<>(store(), IntSerializer.INSTANCE, new SharedBufferCacheConfig());
    }

    void all(List<Integer> indexes) throws Exception {
        for (int index : indexes) {
            long time = rows.get(index).timeMs();
            advance(time);
            try (SharedBufferAccessor<Integer> accessor = buffer.getAccessor()) {
                add(matches, index, nfa.process(accessor, state, index, time, skip, () -> 0L));
            }
        }
        advance(Long.MAX_VALUE);
        buffer.releaseCacheStatisticsTimer();
    }

    private void advance(long time) throws Exception {
        try (SharedBufferAccessor<Integer> accessor = buffer.getAccessor()) {
            var found = nfa.advanceTime(accessor, state, time, skip);
            add(matches, null, found.f0);
            for (Tuple2<Map<String, List<Integer>>, Long> timeout : found.f1) {
                timeouts.add(new Match(null, timeout.f0));
            }
        }
    }

    private static void add(List<Match> to, Integer at, Collection<Map<String, List<Integer>>> found) {
        found.forEach(steps -> to.add(new Match(at, steps)));
    }

    /** A store of state whose maps are plain maps; the shared buffer asks for nothing else. */
    private static KeyedStateStore store() {
        return (KeyedStateStore) Proxy.newProxyInstance(
                Run.class.getClassLoader(),
                new Class<?>[] {KeyedStateStore.class},
                (self, method, args) -> {
                    if (method.getReturnType() == MapState.class) {
                        return new PlainMap<>();
                    }
                    throw new UnsupportedOperationException(method.toString());
                });
    }

    private static final class PlainMap<K, V> implements MapState<K, V> {
        private final Map<K, V> map = new HashMap<>();

        @Override
        public V get(K key) {
            return map.get(key);
        }

        @Override
        public void put(K key, V value) {
            map.put(key, value);
        }

        @Override
        public void putAll(Map<K, V> other) {
            map.putAll(other);
        }

        @Override
        public void remove(K key) {
            map.remove(key);
        }

        @Override
        public boolean contains(K key) {
            return map.containsKey(key);
        }

        @Override
        public Iterable<Map.Entry<K, V>> entries() {
            return map.entrySet();
        }

        @Override
        public Iterable<K> keys() {
            return map.keySet();
        }

        @Override
        public Iterable<V> values() {
            return map.values();
        }

        @Override
        public Iterator<Map.Entry<K, V>> iterator() {
            return map.entrySet().iterator();
        }

        @Override
        public boolean isEmpty() {
            return map.isEmpty();
        }

        @Override
        public void clear() {
            map.clear();
        }
    }
}
