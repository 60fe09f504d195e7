package oa;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.time.Duration;
import java.time.Instant;
import java.util.Collection;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import org.flowable.common.engine.api.delegate.event.AbstractFlowableEventListener;
import org.flowable.common.engine.api.delegate.event.FlowableEngineEntityEvent;
import org.flowable.common.engine.api.delegate.event.FlowableEngineEvent;
import org.flowable.common.engine.api.delegate.event.FlowableEngineEventType;
import org.flowable.common.engine.api.delegate.event.FlowableEvent;
import org.flowable.common.engine.api.delegate.event.FlowableEventType;
import org.flowable.engine.impl.util.CommandContextUtil;
import org.flowable.task.service.impl.persistence.entity.TaskEntity;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.boot.autoconfigure.condition.ConditionalOnExpression;
import org.springframework.stereotype.Component;
import org.springframework.transaction.support.TransactionSynchronization;
import org.springframework.transaction.support.TransactionSynchronizationManager;

/** Tells OA_WEBHOOK_URL after each change, at most once, as the OAs of the market do. */
@Component
@ConditionalOnExpression("!'${OA_WEBHOOK_URL:}'.isEmpty()")
class Webhook extends AbstractFlowableEventListener {
    private static final Logger LOG = LoggerFactory.getLogger(Webhook.class);

    private final ObjectMapper json;
    private final URI target;
    private final String secret;
    private final HttpClient http =
            HttpClient.newBuilder()
                    // By default it offers to upgrade, and some receivers then lose the body.
                    .version(HttpClient.Version.HTTP_1_1)
                    .proxy(HttpClient.Builder.NO_PROXY)
                    .connectTimeout(Duration.ofSeconds(2))
                    .build();
    private final ExecutorService sender =
            new ThreadPoolExecutor(
                    1,
                    1,
                    0,
                    TimeUnit.SECONDS,
                    new ArrayBlockingQueue<>(1000),
                    Thread.ofPlatform().daemon().name("webhook").factory(),
                    (send, full) -> LOG.warn("webhook lost: 1000 others wait"));

    Webhook(
            ObjectMapper json,
            @Value("${OA_WEBHOOK_URL}") URI target,
            @Value("${OA_WEBHOOK_SECRET}") String secret) {
        this.json = json;
        this.target = target;
        this.secret = secret;
    }

    @Override
    public Collection<? extends FlowableEventType> getTypes() {
        return Set.of(
                FlowableEngineEventType.PROCESS_STARTED,
                FlowableEngineEventType.PROCESS_COMPLETED,
                FlowableEngineEventType.PROCESS_CANCELLED,
                FlowableEngineEventType.TASK_CREATED,
                FlowableEngineEventType.TASK_ASSIGNED,
                FlowableEngineEventType.TASK_COMPLETED);
    }

    /** Facts are read here: once the transaction is over, entities can no longer be asked. */
    @Override
    public void onEvent(FlowableEvent event) {
        if (((FlowableEngineEvent) event).getProcessInstanceId() == null) {
            return; // a note to one person belongs to no process
        }
        var facts = facts((FlowableEngineEvent) event);
        TransactionSynchronizationManager.registerSynchronization(
                new TransactionSynchronization() {
                    @Override
                    public void afterCommit() {
                        sender.execute(() -> send(facts));
                    }
                });
    }

    private static Map<String, Object> facts(FlowableEngineEvent event) {
        var id = event.getProcessInstanceId();
        var instance = CommandContextUtil.getExecutionEntityManager().findById(id);
        var facts = new LinkedHashMap<String, Object>();
        facts.put("event", event.getType().name());
        facts.put("occurredAt", Instant.now().toString());
        facts.put("processInstanceId", id);
        facts.put("businessKey", instance == null ? null : instance.getBusinessKey());
        if (event instanceof FlowableEngineEntityEvent of && of.getEntity() instanceof TaskEntity task) {
            facts.put("taskId", task.getId());
            facts.put("assignee", task.getAssignee());
            facts.put("outcome", task.getVariableLocal("outcome"));
        }
        return facts;
    }

    private void send(Map<String, Object> facts) {
        try {
            var body = json.writeValueAsString(facts);
            var timestamp = String.valueOf(Instant.now().getEpochSecond());
            var request =
                    HttpRequest.newBuilder(target)
                            .timeout(Duration.ofSeconds(5))
                            .header("Content-Type", "application/json")
                            .header("X-OA-Timestamp", timestamp)
                            .header("X-OA-Delivery", UUID.randomUUID().toString())
                            .header("X-OA-Signature", sign(timestamp + "." + body))
                            .POST(HttpRequest.BodyPublishers.ofString(body))
                            .build();
            var status = http.send(request, BodyHandlers.discarding()).statusCode();
            if (status >= 300) {
                LOG.warn("webhook lost: {} answered {}", facts.get("event"), status);
            }
        } catch (JsonProcessingException | GeneralSecurityException error) {
            throw new IllegalStateException(error);
        } catch (java.io.IOException error) {
            LOG.warn("webhook lost: {}: {}", facts.get("event"), error.toString());
        } catch (InterruptedException end) {
            Thread.currentThread().interrupt();
        }
    }

    private String sign(String text) throws GeneralSecurityException {
        var mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(secret.getBytes(StandardCharsets.UTF_8), "HmacSHA256"));
        return HexFormat.of().formatHex(mac.doFinal(text.getBytes(StandardCharsets.UTF_8)));
    }

    @Override
    public boolean isFailOnException() {
        return false;
    }
}
