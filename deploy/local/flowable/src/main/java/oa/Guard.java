package oa;

import java.util.Collection;
import java.util.List;
import java.util.Set;
import org.flowable.common.engine.api.FlowableForbiddenException;
import org.flowable.common.engine.api.FlowableIllegalArgumentException;
import org.flowable.common.engine.api.delegate.event.AbstractFlowableEventListener;
import org.flowable.common.engine.api.delegate.event.FlowableEngineEntityEvent;
import org.flowable.common.engine.api.delegate.event.FlowableEngineEventType;
import org.flowable.common.engine.api.delegate.event.FlowableEvent;
import org.flowable.common.engine.api.delegate.event.FlowableEventType;
import org.flowable.engine.impl.persistence.entity.ExecutionEntity;
import org.flowable.engine.impl.util.CommandContextUtil;
import org.flowable.idm.api.IdmIdentityService;
import org.flowable.task.service.impl.persistence.entity.TaskEntity;
import org.springframework.context.annotation.Lazy;
import org.springframework.security.core.Authentication;
import org.springframework.security.core.context.SecurityContextHolder;
import org.springframework.stereotype.Component;

/** What Flowable's REST does not check: that the list of approvers can work, and who decides. */
@Component
class Guard extends AbstractFlowableEventListener {
    private final IdmIdentityService people;

    Guard(@Lazy IdmIdentityService people) {
        this.people = people;
    }

    @Override
    public Collection<? extends FlowableEventType> getTypes() {
        return Set.of(FlowableEngineEventType.PROCESS_STARTED, FlowableEngineEventType.TASK_COMPLETED);
    }

    @Override
    public void onEvent(FlowableEvent event) {
        var entity = ((FlowableEngineEntityEvent) event).getEntity();
        if (entity instanceof TaskEntity task) {
            onDecision(task);
        } else if (entity instanceof ExecutionEntity instance) {
            onStart(instance.getProcessInstance());
        }
    }

    private void onStart(ExecutionEntity instance) {
        if (!(instance.getVariable("approvers") instanceof List<?> approvers) || approvers.isEmpty()) {
            throw new FlowableIllegalArgumentException(
                    "approvers: a list of at least one user id is needed / approvers 至少要有一位审批人");
        }
        for (var approver : approvers) {
            if (people.createUserQuery().userId(String.valueOf(approver)).count() == 0) {
                throw new FlowableIllegalArgumentException(
                        "approvers: nobody here is called " + approver + " / 没有这位审批人：" + approver);
            }
        }
    }

    /** The process goes by `lastOutcome`, taken from the task itself so that both always agree. */
    private void onDecision(TaskEntity task) {
        var user = SecurityContextHolder.getContext().getAuthentication();
        if (!user.getName().equals(task.getAssignee()) && !isAdmin(user)) {
            throw new FlowableForbiddenException(
                    "this task waits for " + task.getAssignee() + " / 这项待办在等 " + task.getAssignee());
        }
        if (task.getProcessInstanceId() == null) {
            return; // a note to one person: there is nothing to decide
        }
        var outcome = task.getVariableLocal("outcome");
        if (outcome == null) {
            throw new FlowableIllegalArgumentException(
                    "outcome: approve, reject or return is needed, with scope local"
                            + " / 缺少审批结果 outcome（approve、reject 或 return，scope 为 local）");
        }
        task.setVariableLocal("completedBy", user.getName());
        CommandContextUtil.getExecutionEntityManager()
                .findById(task.getProcessInstanceId())
                .setVariable("lastOutcome", outcome);
    }

    private static boolean isAdmin(Authentication user) {
        return user.getAuthorities().stream().anyMatch(a -> a.getAuthority().equals("ROLE_" + Security.ADMIN));
    }

    @Override
    public boolean isFailOnException() {
        return true;
    }
}
