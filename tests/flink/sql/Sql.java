import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;

/** Runs the statements of a file, parted by semicolons, each to its end, and says how long the last one took. */
public final class Sql {
    public static void main(String[] args) throws Exception {
        TableEnvironment tables = TableEnvironment.create(EnvironmentSettings.newInstance().inStreamingMode().build());
        tables.getConfig().set("parallelism.default", args[1]);
        double seconds = 0;
        for (String statement : Files.readString(Path.of(args[0])).split(";")) {
            if (!statement.isBlank()) {
                long begun = System.nanoTime();
                tables.executeSql(statement).await();
                seconds = (System.nanoTime() - begun) / 1e9;
            }
        }
        System.out.println(seconds);
    }
}
