// Checks Kubernetes objects against the API types: required fields, types, enums, and that no field is unknown.
//
//   node check.js < OBJECTS.json     a JSON array of objects
//
// Prints one line a fault and "types: N objects checked". Run where kubernetes-models is installed (NODE_PATH).
'use strict';
const fs = require('fs');
const { createRequire } = require('module');
const load = createRequire(process.cwd() + '/check.js');

function modelOf(object) {
    const [group, version] = object.apiVersion.includes('/')
        ? object.apiVersion.split('/') : [null, object.apiVersion];
    return load(`kubernetes-models/${group ? group + '/' : ''}${version}/${object.kind}`)[object.kind];
}

// The validators read each field they know and no other, and walk maps with `for in`: a field that is never read is
// not part of the type.
function watched(value, path, unread) {
    if (value === null || typeof value !== 'object')
        return value;
    const children = Array.isArray(value) ? [] : {};
    for (const key of Object.keys(value)) {
        const at = Array.isArray(value) ? `${path}[${key}]` : `${path}.${key}`;
        unread.add(at);
        children[key] = watched(value[key], at, unread);
    }
    return new Proxy(children, {
        get(target, key) {
            if (typeof key === 'string' && Object.hasOwn(target, key))
                unread.delete(Array.isArray(value) ? `${path}[${key}]` : `${path}.${key}`);
            return target[key];
        },
    });
}

function faultsOf(object) {
    const name = `${object.kind} ${object.metadata && object.metadata.name}`;
    const unread = new Set();
    const faults = [];
    try {
        modelOf(object).prototype.validate.call(watched(object, '', unread));
    } catch (error) {
        if (error.code === 'MODULE_NOT_FOUND')
            return [`${name}: no such type ${object.apiVersion}`];
        faults.push(`${name}: ${error.message}`);
    }
    for (const path of unread)
        if (![...unread].some(other => path !== other && path.startsWith(other) && '.['.includes(path[other.length])))
            faults.push(`${name}: unknown field ${path}`);
    return faults;
}

const objects = JSON.parse(fs.readFileSync(0, 'utf8'));
const faults = objects.flatMap(faultsOf);
for (const fault of faults)
    console.log(fault);
console.log(`types: ${objects.length} objects checked`);
process.exit(faults.length ? 1 : 0);
