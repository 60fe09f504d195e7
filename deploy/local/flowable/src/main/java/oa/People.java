package oa;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.File;
import java.io.IOException;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.flowable.idm.api.Group;
import org.flowable.idm.api.IdmIdentityService;
import org.springframework.beans.factory.SmartInitializingSingleton;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;

/** The people of the file in OA_PEOPLE_FILE, and their names for the page. */
@RestController
class People implements SmartInitializingSingleton {
    @JsonIgnoreProperties(ignoreUnknown = true)
    record Person(String id, String name, String password, List<String> groups) {}

    private final IdmIdentityService identity;
    private final ObjectMapper json;
    private final String file;

    People(IdmIdentityService identity, ObjectMapper json, @Value("${OA_PEOPLE_FILE:}") String file) {
        this.identity = identity;
        this.json = json;
        this.file = file;
    }

    @GetMapping("/people")
    Map<String, String> names() {
        var names = new LinkedHashMap<String, String>();
        for (var user : identity.createUserQuery().orderByUserId().asc().list()) {
            names.put(user.getId(), user.getDisplayName());
        }
        return names;
    }

    /** Before the port opens: whoever finds this server healthy can sign in. */
    @Override
    public void afterSingletonsInstantiated() {
        if (file.isEmpty()) {
            return;
        }
        try {
            for (var person : json.readValue(new File(file), Person[].class)) {
                save(person);
                join(person);
            }
        } catch (IOException error) {
            throw new IllegalStateException("OA_PEOPLE_FILE " + file + ": " + error.getMessage(), error);
        }
    }

    private void save(Person person) {
        var found = identity.createUserQuery().userId(person.id).singleResult();
        var user = found != null ? found : identity.newUser(person.id);
        user.setDisplayName(person.name);
        if (found == null) {
            user.setPassword(person.password);
            identity.saveUser(user);
            return;
        }
        identity.saveUser(user);
        if (!identity.checkPassword(person.id, person.password)) {
            user.setPassword(person.password);
            identity.updateUserPassword(user);
        }
    }

    /** Membership as the file says, no more and no less. */
    private void join(Person person) {
        var wanted = new HashSet<>(person.groups == null ? List.of() : person.groups);
        for (Group group : identity.createGroupQuery().groupMember(person.id).list()) {
            if (!wanted.remove(group.getId())) {
                identity.deleteMembership(person.id, group.getId());
            }
        }
        for (var id : wanted) {
            if (identity.createGroupQuery().groupId(id).count() == 0) {
                identity.saveGroup(identity.newGroup(id));
            }
            identity.createMembership(person.id, id);
        }
    }
}
